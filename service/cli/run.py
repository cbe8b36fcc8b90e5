"""`service run`."""

import signal
import socket
from collections.abc import Callable

import click

from service.cli.database import DatabaseTarget, database_target
from service.cli.development_server import serve_development
from service.cli.listener import listen
from service.observability.logging import configure_logging
from service.settings import load_settings, local_url


@click.command()
@click.option("--reload", is_flag=True, help="Restart the server when the code changes.")
def run(reload: bool) -> None:
    """Serve for development, all in one: database, migrations, server.

    Listens on HOST and PORT. Without DATABASE_URL an embedded PostgreSQL keeps its data in
    DATA_DIR.
    """
    settings = load_settings()
    if settings.production:
        raise click.ClickException(
            "`service run` is for development. In production run `service migrate`, then "
            "`service serve`."
        )
    configure_logging(settings)
    # SIGTERM ends it as Ctrl-C does, also while the database starts.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with listen(settings.host, settings.port) as listener, database_target(settings) as target:
            if reload:
                # Only for development, as is the library that it needs.
                from service.cli.reload import serve_reloading

                serve_reloading(target.settings, listener, _announcement(listener, target))
            else:
                serve_development(target.settings, listener, _announcement(listener, target))
    except KeyboardInterrupt:
        pass
    click.echo("Stopped.")


def _announcement(listener: socket.socket, target: DatabaseTarget) -> Callable[[], None]:
    host, port = listener.getsockname()[:2]
    address = local_url(host, port)
    by_name = local_url("localhost", port)

    def announce() -> None:
        click.echo(f"Serving on {address}")
        click.echo(f"  API docs  {address}/docs")
        if by_name != address:
            click.echo(f"  By name   {by_name} (browsers have no passkeys under an IP address)")
        click.echo(f"  Data      {target.description}")
        click.echo("Ctrl-C stops it.")

    return announce
