"""The databases: filled once and kept, each run works on copies of them."""

import asyncio
import os
import secrets
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from benchmarks.multiply import SEED, multiply
from benchmarks.processes import ServerError, parent

ROOT = Path(__file__).resolve().parent.parent
USERS = 1000
STOP_TIMEOUT = 60.0
SCHEMAS = Path(__file__).parent / "peers"
COPIED = {
    "users": "id, email, username, password_hash, is_active, created_at",
    "posts": "id, title, content, author_id, created_at",
}

SECRETS = {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "JWT_SECRET_KEY")}
PRODUCTION = {
    **SECRETS,
    "SERVICE_ENV": "production",
    "SERVER": "hypercorn",  # where a peer's command names no other
    "RATELIMIT_ENABLED": "false",
    "JWT_ACCESS_TOKEN_EXPIRES": "86400",  # longer than a run, as the peers' are
    # As the FastAPI peer has: with 10, of 256 requests at once some are told that it is busy.
    "DATABASE_POOL_SIZE": "20",
    "SMTP_URL": "smtp://127.0.0.1:25",  # mails stay queued: no worker runs
    "MAIL_FROM": "service@example.com",
    "PUBLIC_URL": "http://127.0.0.1:8000",
}


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL server on this machine."""

    url: str
    python: Path  # the interpreter of the service's environment
    say: Callable[[str], None]

    def database(self, name: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    @asynccontextmanager
    async def connect(self, name: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.database(name), command_timeout=900)
        try:
            yield connection
        finally:
            await connection.close()

    async def postmaster(self) -> int:
        """The process above all of the server's processes."""
        async with self.connect() as connection:
            return parent(await connection.fetchval("SELECT pg_backend_pid()"))

    async def version(self) -> str:
        async with self.connect() as connection:
            return str(await connection.fetchval("SHOW server_version"))

    @asynccontextmanager
    async def copy(self, schema: str, posts: int) -> AsyncIterator[str]:
        """A fresh copy of the data with so many posts; its name. Dropped afterwards."""
        original = await self.original(schema, posts)
        name = f"run_{original}"
        async with self.connect() as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {original} STRATEGY file_copy"
            )
        try:
            async with self.connect(name) as connection:
                await connection.execute("VACUUM ANALYZE")
                await connection.execute("CHECKPOINT")
            yield name
        finally:
            async with self.connect() as connection:
                await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def original(self, schema: str, posts: int) -> str:
        """The name of the complete database, made when it is not there, migrated when it is."""
        name = f"{schema}_{posts}"
        fill = self.fill_service if schema == "service" else self.fill_peers
        async with self.connect() as connection:
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                if schema == "service":
                    await self.service(name, "migrate")
                return name
            self.say(f"Filling a database of {posts:,} posts for {schema} …")
            await connection.execute(f"DROP DATABASE IF EXISTS filling_{name} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE filling_{name}")
            await fill(f"filling_{name}", posts)
            await connection.execute(f"ALTER DATABASE filling_{name} RENAME TO {name}")
        return name

    async def fill_service(self, name: str, posts: int) -> None:
        """Let the service itself migrate and fill, and PostgreSQL multiply what that gives."""
        seeds = min(posts, SEED)
        await self.service(name, "migrate")
        await self.service(name, "demo", "--users", str(USERS), "--posts", str(seeds))
        if posts > seeds:
            async with self.connect(name) as connection:
                await multiply(connection, posts)

    async def service(self, name: str, *arguments: str) -> None:
        """Run a command of the service on a database. Raises ServerError when it fails."""
        development = {**SECRETS, "SERVICE_ENV": "development"}  # `demo` refuses production
        settings = {**os.environ, **development, "DATABASE_URL": self.database(name)}
        program = self.python.parent / "service"
        command = await asyncio.create_subprocess_exec(program, *arguments, env=settings, cwd=ROOT)
        if await command.wait():
            raise ServerError(f"`service {arguments[0]}` failed")

    async def fill_peers(self, name: str, posts: int) -> None:
        """Copy users and posts, with their ids, from the service's database."""
        source = await self.original("service", posts)
        async with self.connect(source) as old, self.connect(name) as new:
            await new.execute((SCHEMAS / "schema.sql").read_text())
            for table, columns in COPIED.items():
                with tempfile.TemporaryFile() as rows:
                    await old.copy_from_query(
                        f"SELECT {columns} FROM {table}", output=rows, format="binary"
                    )
                    rows.seek(0)
                    await new.copy_to_table(
                        table, source=rows, columns=columns.split(", "), format="binary"
                    )
            await new.execute((SCHEMAS / "indexes.sql").read_text())


@asynccontextmanager
async def cluster(
    folder: Path, python: Path, url: str | None, say: Callable[[str], None]
) -> AsyncIterator[Cluster]:
    """The embedded PostgreSQL of a folder, or the server at `url`, which runs on this machine too.

    Raises ServerError when the embedded one does not start.
    """
    if url:
        yield Cluster(url, python, say)
        return
    holder = await asyncio.create_subprocess_exec(
        python, "-m", "benchmarks.postgres", folder, cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        address = (await holder.stdout.readline()).decode().strip()
        if not address:
            raise ServerError("the embedded PostgreSQL did not start")
        yield Cluster(address, python, say)
    finally:
        holder.stdin.close()
        await asyncio.wait_for(holder.wait(), STOP_TIMEOUT)
