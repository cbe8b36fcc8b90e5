"""Connections are opened as DATABASE_URL says, and by nothing else."""

import asyncio
import struct
from typing import Any

import asyncpg
import pytest
from click.testing import Result

from service.db.connecting import open_connection
from service.testing.application import make_settings
from tests.support.command import Invoke

STRANGE = {
    "PGHOST": "nowhere.invalid",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGDATABASE": "nothing",
    "PGPASSFILE": "/nowhere",
    "PGSERVICE": "nothing",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nowhere",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGGSSLIB": "nothing",
}


async def settings_of(database_url: str, query: str, *names: str, **options: Any) -> list[str]:
    """What the server says of its settings on a connection by a URL with these parameters."""
    settings = make_settings(database_url=f"{database_url}&{query}")
    connection = await open_connection(settings, **options)
    try:
        return [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    finally:
        await connection.close()


async def test_parameters_of_the_session_reach_the_server(database_url: str) -> None:
    query = "application_name=mine&options=-c%20jit%3Doff%20-c%20work_mem%3D5MB&connect_timeout=9"
    names = ("application_name", "jit", "work_mem")
    found = await settings_of(
        database_url, query, *names, server_settings={"application_name": "service"}
    )
    assert found == ["mine", "off", "5MB"]


async def test_server_is_asked_to_end_connections_of_lost_clients(database_url: str) -> None:
    connection = await open_connection(make_settings(database_url=database_url))
    try:
        asked = await connection.fetch(
            "SELECT name, reset_val FROM pg_settings WHERE name LIKE 'tcp%' ORDER BY name"
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in asked] == [
        ("tcp_keepalives_count", "3"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_user_timeout", "25000"),
    ]


async def test_environment_does_not_reach_the_embedded_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STRANGE.items():
        monkeypatch.setenv(name, value)
    query = "channel_binding=prefer&gssencmode=disable"
    assert await settings_of(database_url, query, "server_encoding") == ["UTF8"]


async def test_password_that_the_url_does_not_have_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So an orchestrator can keep it apart from the address."""
    shown: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def ask_for_password(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(struct.pack("!cii", b"R", 8, 3))  # AuthenticationCleartextPassword
        _, length = struct.unpack("!ci", await reader.readexactly(5))
        shown.set_result(await reader.readexactly(length - 4))
        writer.close()

    monkeypatch.setenv("PGPASSWORD", "hunter2")
    async with await asyncio.start_server(ask_for_password, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://service@127.0.0.1:{port}/service?sslmode=disable"
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await open_connection(make_settings(database_url=url))
    assert shown.result() == b"hunter2\0"


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "run"])
def test_every_command_refuses_a_parameter_at_its_start(invoke: Invoke, command: str) -> None:
    result: Result = invoke(
        command, database_url="postgresql://u:hunter2@h/d?channel_binding=require"
    )
    assert result.exit_code == 1
    assert "DATABASE_URL: channel_binding takes disable, prefer" in result.stderr
    assert "hunter2" not in result.output
