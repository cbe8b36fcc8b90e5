"""`service serve`."""

import asyncio
import tomllib
from pathlib import Path
from typing import get_args

import click
import uvloop
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from service.app import create_app
from service.auth.tokens import Tokens
from service.cli.signals import on_stop
from service.observability.logging import configure_logging
from service.settings import ServerName, Settings, load_settings
from service.web.server.hangup import on_hangup
from service.web.server.serve import Serve, ServerMissing, load_server
from service.web.server.uvicorn.options import options_without_counterpart


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="hypercorn.toml",
    show_default=True,
    metavar="FILE",
    help="Hypercorn's configuration, which uvicorn follows, too.",
)
@click.option(
    "--bind",
    "binds",
    multiple=True,
    metavar="ADDRESS",
    help="Where to listen, in place of the configuration's `bind`: HOST:PORT or unix:PATH.",
)
@click.option(
    "--server",
    type=click.Choice(get_args(ServerName)),
    help="What serves; uvicorn needs the extra of this name.  [default: SERVER, else hypercorn]",
)
def serve(config_path: Path, binds: tuple[str, ...], server: ServerName | None) -> None:
    """Serve for production, in one process.

    SIGTERM and Ctrl-C end it once no balancer sends requests any more (or after DRAIN_SECONDS) and
    those in flight are answered; a second signal closes the port at once. At SIGHUP JWT_KEYS_DIR is
    read anew. Nothing is migrated: run `service migrate` before.
    """
    settings = load_settings()
    configure_logging(settings)
    server = server or settings.server
    try:
        serve_application = load_server(server)
    except ServerMissing as error:
        raise click.ClickException(str(error)) from error
    config = _read_config(config_path, server)
    if server == "uvicorn" and settings.http2_prior_knowledge:
        raise click.ClickException("HTTP2_PRIOR_KNOWLEDGE: uvicorn has no HTTP/2; hypercorn has.")
    if binds:
        config.bind = list(binds)
    if config.workers > 1:
        click.echo(
            f"workers = {config.workers} is not followed: this is one process. Start more of them.",
            err=True,
        )
    loop_factory = uvloop.new_event_loop if config.worker_class == "uvloop" else None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(settings, config, serve_application))


async def _serve(settings: Settings, config: Config, serve_application: Serve) -> None:
    app = create_app(settings)
    on_stop(app.shutdown_state.terminate)
    on_hangup(app.component(Tokens).keys.reload)
    try:
        await serve_application(app, config)
    except OSError as error:
        raise click.ClickException(
            f"It is not possible to listen on {', '.join(config.bind)}: {error.strerror}."
        ) from error
    except (LifespanFailureError, LifespanTimeoutError) as error:
        stage = "end" if app.shutdown_state.begun else "start"
        raise click.ClickException(f"The service did not {stage}: {error}") from error


def _read_config(path: Path, server: ServerName) -> Config:
    """Read the server's configuration. Raises ClickException naming what is wrong in it."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise click.ClickException(f"{path} is not TOML: {error}.") from error
    # Hypercorn itself takes unknown keys in silence.
    if unknown := [key for key in values if not hasattr(Config, key)]:
        raise click.ClickException(f"{path}: there is no setting {', '.join(unknown)}.")
    if server == "uvicorn" and (lost := options_without_counterpart(values)):
        raise click.ClickException(f"{path}: uvicorn has no setting {', '.join(lost)}.")
    if values.get("worker_class", "asyncio") not in ("asyncio", "uvloop"):
        raise click.ClickException(f"{path}: worker_class is asyncio or uvloop.")
    return Config.from_mapping(values)
