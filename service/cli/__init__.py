"""The `service` command; a file per command."""

from importlib import import_module
from typing import Any, Final

import click

from service.db.failures import failure_reason
from service.embedded_postgres.errors import EmbeddedError
from service.errors import ServiceError, Unavailable
from service.importing.report import ReportError
from service.importing.source import SourceError
from service.settings import SettingsError

NAMES: Final = (
    "run", "serve", "migrate", "worker", "jobs", "create-admin", "reset-second-factor", "demo",
    "openapi", "import-flask", "encryption-key", "reencrypt", "doctor",
)  # fmt: skip


class Commands(click.Group):
    """The group of commands: errors that a person can set right are one sentence, no traceback.

    Only the command that runs is imported: all of them take half as long again to start.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        function = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"service.cli.{function}"), function)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(f"The settings are wrong. {error}") from error
        except Unavailable as error:
            raise click.ClickException(f"{error}: {failure_reason(error)}.") from error
        except (EmbeddedError, ReportError, ServiceError, SourceError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="service")
def main() -> None:
    """Accounts, sessions and posts over HTTP."""
