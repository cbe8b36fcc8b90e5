"""The `service` command; a file per command."""

from typing import Any

import click

from service.cli.create_admin import create_admin
from service.cli.demo import demo
from service.cli.import_flask import import_flask
from service.cli.jobs import jobs
from service.cli.migrate import migrate
from service.cli.openapi import openapi
from service.cli.run import run
from service.cli.serve import serve
from service.cli.worker import worker
from service.embedded_postgres.errors import EmbeddedError
from service.errors import ServiceError
from service.importing.report import ReportError
from service.importing.source import SourceError
from service.settings import SettingsError


class Commands(click.Group):
    """The group of commands: errors that a person can set right are one sentence, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException(f"The settings are wrong. {error}") from error
        except (EmbeddedError, ReportError, ServiceError, SourceError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="service")
def main() -> None:
    """Accounts, sessions and posts over HTTP."""


for command in (run, serve, migrate, worker, jobs, create_admin, demo, openapi, import_flask):
    main.add_command(command)
