"""The plugin's fixtures: a service for the test, and nothing for suites that do without."""

import asyncio
import json
from pathlib import Path
from urllib.request import urlopen

import asyncpg
import pytest

from service.db.schema_version import head_revision
from service.settings import Settings
from service.testing.application import in_this_loop, make_settings
from service.testing.background import BackgroundLoop
from service.testing.client import Client
from service.testing.clock import Clock
from service.testing.database import Databases, run_databases
from service.testing.mails import Mails, link, part, token
from service.testing.server import Server
from service.web.server.application import Service
from tests.support.command import fetch
from tests.support.suites import run_suites

# What a suite that uses none of the fixtures must not pay for.
HEAVY = {"quart", "sqlalchemy", "asyncpg", "pydantic", "hypercorn", "aiosmtpd", "uvloop"}
SUITE_WITHOUT = f"""
import sys

def test_nothing_of_the_service_is_loaded():
    assert not {HEAVY} & sys.modules.keys()
"""


@pytest.mark.proof
@pytest.mark.parametrize("options", [(), ("-p", "no:asyncio")])
async def test_suite_without_the_fixtures_loads_nothing(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert "1 passed" in await run_suites(tmp_path, [SUITE_WITHOUT], *options)


SUITE_WITH_A_LOG = """
import logging
import pytest

@pytest.mark.asyncio
async def test_log_is_captured(service_client, service_mails, caplog):
    caplog.set_level(logging.INFO)
    await service_client.register()
    await service_mails.next()
    [line] = [line for line in caplog.messages if "/auth/register" in line]
    assert "status=201" in line
"""


@pytest.mark.proof
async def test_service_s_log_goes_to_logging(tmp_path: Path) -> None:
    output = await run_suites(tmp_path, [SUITE_WITH_A_LOG])
    assert "1 passed" in output
    assert "mail sent" not in output


class TestClient:
    async def test_sign_up_gives_a_client_of_its_own(self, service_client: Client) -> None:
        ann = await service_client.sign_up("ann@example.com", username="ann")
        assert (await ann.get("/auth/me")).json == ann.user
        assert ann.user["username"] == "ann"
        assert (await service_client.get("/auth/me")).status == 401

    async def test_sign_up_fails_loudly(self, service_client: Client) -> None:
        with pytest.raises(AssertionError, match=r"400.*password"):
            await service_client.sign_up(password="short")

    async def test_as_user_logs_in_to_the_same_account_again(self, service_client: Client) -> None:
        first = await service_client.as_user("ann@example.com")
        second = await service_client.as_user("ANN@example.com")
        other = await service_client.as_user()
        assert first.user == second.user != other.user
        assert first.token != second.token

    async def test_as_admin_makes_an_administrator_of_an_account(
        self, service_client: Client
    ) -> None:
        ann = await service_client.as_user("ann@example.com")
        assert (await ann.get("/admin/users")).status == 403
        admin = await service_client.as_admin("ann@example.com")
        assert admin.user["id"] == ann.user["id"]
        assert (await ann.get("/admin/users")).status == 200

    def test_client_works_in_another_loop_than_the_application(
        self, service_client: Client
    ) -> None:
        async def write() -> int:
            ann = await service_client.as_admin()
            return (await ann.post("/api/posts", {"title": "a", "content": "b"})).status

        assert asyncio.run(write()) == 201


class TestApplication:
    async def test_application_runs_in_the_loop_of_its_test(self, service_app: Service) -> None:
        async with in_this_loop(service_app) as app:
            assert app is service_app

    def test_settings_are_not_read_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RETENTION_DAYS", "7")
        assert make_settings().retention_days == 30

    @pytest.mark.parametrize("service_settings_overrides", [{"retention_days": 7}])
    def test_settings_can_be_overridden(self, service_settings: Settings) -> None:
        assert service_settings.retention_days == 7

    def test_unknown_settings_are_refused(self) -> None:
        with pytest.raises(TypeError, match="no setting no_such, other"):
            make_settings(other=1, no_such=2)

    async def test_clock_moves_the_application(
        self, service_client: Client, service_clock: Clock
    ) -> None:
        ann = await service_client.sign_up()
        service_clock.advance(3601)
        assert (await ann.get("/auth/me")).status == 401


class TestServer:
    def test_server_answers_a_client_that_blocks(self, service_server: Server) -> None:
        with urlopen(f"{service_server.url}/health/ready") as answer:
            assert answer.status == 200

    async def test_server_and_client_share_the_database(
        self, service_server: Server, service_client: Client
    ) -> None:
        ann = await service_client.sign_up()
        post = (await ann.post("/api/posts", {"title": "a", "content": "b"})).json
        url = f"{service_server.url}/api/posts/{post['id']}"
        assert json.loads(await asyncio.to_thread(fetch, url)) == post


class TestMails:
    async def test_mail_has_a_link_to_the_server(
        self, service_client: Client, service_mails: Mails, service_server: Server
    ) -> None:
        await service_client.register("ann@example.com")
        mail = await service_mails.next()
        assert mail["To"] == "ann@example.com"
        assert link(mail).startswith(f"{service_server.url}/verify-email?token=")
        assert token(mail) in part(mail, "html")

    async def test_each_mail_is_returned_once(
        self, service_client: Client, service_mails: Mails
    ) -> None:
        for name in ("ann", "bob"):
            await service_client.register(f"{name}@example.com")
        [bobs] = [await service_mails.next("bob@example.com")]
        [anns] = [await service_mails.next()]
        assert (bobs["To"], anns["To"]) == ("bob@example.com", "ann@example.com")
        assert sorted(mail["To"] for mail in service_mails.sent) == [anns["To"], bobs["To"]]
        with pytest.raises(TimeoutError):
            await service_mails.next(seconds=0.01)


class TestDatabases:
    async def test_database_of_a_test_is_migrated(self, service_databases: Databases) -> None:
        with service_databases.database() as database:
            connection = await asyncpg.connect(database.url)
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
            await connection.close()
        assert revision == head_revision()
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(database.url)

    def test_processes_of_a_run_share_a_server_that_ends_with_the_last(
        self, tmp_path: Path
    ) -> None:
        loop = BackgroundLoop()
        with run_databases(tmp_path, loop) as first:
            with run_databases(tmp_path, loop) as second:
                assert first.server.url() == second.server.url()
            with first.database() as database:
                assert database.url
            folder = first.server.data_dir
            assert folder.exists()
        loop.close()
        assert not folder.exists()
