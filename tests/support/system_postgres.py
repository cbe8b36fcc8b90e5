"""A PostgreSQL of the operating system, which knows ICU's locales; the embedded one does not."""

from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.postgres import Server, postgres_server

# Where Debian's packages put them, the newest version last.
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
LOCALE = ("--encoding=UTF8", "--locale=C")


def system_postgres() -> AbstractContextManager[Server]:
    """The newest of the system's PostgreSQLs, on data of its own that is deleted at the end."""
    return postgres_server(programs=PROGRAMS[-1].parent, locale=LOCALE)
