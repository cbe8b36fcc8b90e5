"""The Flask service's database, by its SQLALCHEMY_DATABASE_URI."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from service.importing.postgres import open_postgres
from service.importing.source import Source, SourceError
from service.importing.sqlite import open_sqlite

# Scheme, driver, the rest: SQLAlchemy's form.
_URL: Final = re.compile(r"([a-z][a-z0-9]*)(?:\+\w+)?://(.*)", re.DOTALL | re.IGNORECASE)


@asynccontextmanager
async def open_source(url: str) -> AsyncIterator[Source]:
    """Open the database of a URL as SQLAlchemy writes it, or an SQLite file by its path.

    Raises SourceError.
    """
    found = _URL.fullmatch(url)
    scheme, rest = (found[1].lower(), found[2]) if found else ("sqlite", f"/{url}")
    if scheme == "sqlite":
        async with open_sqlite(_sqlite_path(rest)) as source:
            yield source
    elif scheme in {"postgresql", "postgres"}:
        async with open_postgres(f"postgresql://{rest}") as source:
            yield source
    else:
        raise SourceError(f"{scheme}: only SQLite and PostgreSQL databases can be imported.")


def _sqlite_path(rest: str) -> Path:
    """What follows `sqlite://`: a slash, then a path, relative or absolute, then options."""
    path = rest.partition("?")[0].removeprefix("/")
    if path in {"", ":memory:"} or not rest.startswith("/"):
        raise SourceError("The URL names no file: sqlite:///relative/path or sqlite:////path")
    return Path(path)
