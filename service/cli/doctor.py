"""`service doctor`."""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import asdict
from typing import Final

import click

from service.cli.database import database_target
from service.doctor import configuration
from service.doctor.examination import examine
from service.doctor.findings import Deployment, Finding, Findings, Status
from service.doctor.redaction import Redaction
from service.embedded_postgres.errors import EmbeddedError
from service.observability.logging import configure_logging
from service.settings import Settings

_COLOURS: Final = {Status.WARNING: "yellow", Status.PROBLEM: "red", Status.OK: "green"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for programs.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look at a deployment, and say what is well, what is not and what to do.

    It looks at the settings, the database, Redis, the mail server, keys, external providers, and at
    the service through PUBLIC_URL. Nothing is changed. The exit code is 1 when something must be
    mended, and 0 for warnings alone.
    """
    loaded = configuration.load()
    listed = [*loaded.listed]
    if loaded.settings is not None:
        listed += _examine(loaded.settings, loaded.wrong)
    redaction = Redaction(loaded.settings)
    listed = [redaction.apply(finding) for finding in listed]
    problems = sum(finding.status is Status.PROBLEM for finding in listed)
    if as_json:
        answer = {"ok": not problems, "findings": [asdict(finding) for finding in listed]}
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        _write(listed, problems)
    context.exit(1 if problems else 0)


def _examine(settings: Settings, wrong: frozenset[str]) -> list[Finding]:
    # What goes wrong is a finding, and no line of the log.
    configure_logging(settings.model_copy(update={"log_level": "CRITICAL"}))
    found = Findings("database")
    with ExitStack() as stack:
        # In production, and beside a wrong DATABASE_URL, there is none to start.
        embedded = settings.database_url is None and not (
            settings.production or "DATABASE_URL" in wrong
        )
        if embedded:
            try:
                settings = stack.enter_context(database_target(settings)).settings
            except EmbeddedError as error:
                found.problem(str(error), "set DATABASE_URL, or DATA_DIR for the embedded one")
        deployment = Deployment(settings, wrong, embedded=embedded)
        return [*found.listed, *asyncio.run(examine(deployment))]


def _write(listed: list[Finding], problems: int) -> None:
    width = max((len(finding.subject) for finding in listed), default=0)
    for finding in listed:
        status = click.style(f"{finding.status.value:8}", fg=_COLOURS.get(finding.status))
        click.echo(f"{status} {finding.subject:{width}}  {finding.message}")
        if finding.advice:
            click.echo(f"{'':{width + 9}}  → {finding.advice}")
    warnings = sum(finding.status is Status.WARNING for finding in listed)
    click.echo(f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}.")


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
