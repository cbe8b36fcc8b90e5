"""CORS: answers for the pages of the origins that are named, and for no others."""

from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, load_settings
from service.testing.application import make_settings, running
from service.testing.client import Answer
from service.web import cors
from service.web.server.application import Service
from tests.support.client import Client

APP = "https://app.example.com"
LOCAL = "http://localhost:9000"
NOT_NAMED = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://APP.example.com",
    "null",
    "*",
    "",
]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(
        database_url=database_url, data_dir=tmp_path, cors_origins=f"{APP}, {LOCAL}"
    )


def cors_headers(answer: Answer) -> dict[str, str]:
    """The Access-Control headers, by name."""
    return {
        name.lower(): value
        for name, value in answer.headers.items()
        if name.lower().startswith("access-control-")
    }


def names(listed: str) -> set[str]:
    return {name.strip().lower() for name in listed.split(",")}


async def preflight(
    client: Client, path: str, method: str = "PUT", headers: str = "", origin: str = APP
) -> Answer:
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        sent["Access-Control-Request-Headers"] = headers
    return await client.request("OPTIONS", path, headers=sent)


@pytest.mark.parametrize("origin", [APP, LOCAL])
async def test_configured_origin_may_read_with_credentials(client: Client, origin: str) -> None:
    answer = await client.get("/api/posts", headers={"Origin": origin})
    told = cors_headers(answer)
    assert told["access-control-allow-origin"] == origin
    assert told["access-control-allow-credentials"] == "true"
    assert names(told["access-control-expose-headers"]) == {
        name.lower() for name in cors.EXPOSED_HEADERS
    }
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", NOT_NAMED)
async def test_unconfigured_origin_may_not_read(client: Client, origin: str) -> None:
    answer = await client.get("/api/posts", headers={"Origin": origin})
    assert (answer.status, cors_headers(answer)) == (200, {})
    # A cache must not give this answer to the origins that may.
    assert answer.headers["Vary"] == "Origin"
    asked = await preflight(client, "/api/posts", origin=origin)
    assert cors_headers(asked) == {}


async def test_answer_without_an_origin_varies_by_origin(client: Client) -> None:
    answer = await client.get("/api/posts")
    assert (cors_headers(answer), answer.headers["Vary"]) == ({}, "Origin")
    again = {"If-None-Match": answer.headers["ETag"], "Origin": APP}
    unchanged = await client.get("/api/posts", headers=again)
    assert (unchanged.status, unchanged.headers["Vary"]) == (304, "Origin")
    assert cors_headers(unchanged)["access-control-allow-origin"] == APP


async def test_preflight_of_every_route_is_answered(app: Service, client: Client) -> None:
    paths = {rule.rule for rule in app.url_map.iter_rules()}
    asked = ", ".join(name.lower() for name in cors.REQUEST_HEADERS)
    for path in paths | {"/nowhere", "/api/posts/no-id"}:
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = await preflight(client, path, method, asked)
            assert answer.status == 204, path
            told = cors_headers(answer)
            assert told["access-control-allow-origin"] == APP
            assert told["access-control-allow-credentials"] == "true"
            assert method in told["access-control-allow-methods"].split(", ")
            assert names(told["access-control-allow-headers"]) == names(asked)
            assert told["access-control-max-age"] == "7200"


async def test_preflight_grants_only_known_headers(client: Client) -> None:
    answer = await preflight(client, "/api/posts", "POST", "content-type,x-anything")
    assert names(cors_headers(answer)["access-control-allow-headers"]) == {"content-type"}


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage"])
async def test_preflight_grants_the_headers_that_continue_a_trace(
    client: Client, name: str
) -> None:
    answer = await preflight(client, "/api/posts", "GET", f"authorization,{name}")
    assert names(cors_headers(answer)["access-control-allow-headers"]) == {"authorization", name}


async def test_options_without_preflight_lists_the_methods(client: Client) -> None:
    answer = await client.request("OPTIONS", "/api/posts", headers={"Origin": APP})
    assert names(answer.headers["Allow"]) == {"get", "head", "options", "post"}
    assert cors_headers(answer)["access-control-allow-origin"] == APP


async def test_failure_is_readable_by_a_configured_origin(app: Service, client: Client) -> None:
    async def break_down() -> str:
        raise RuntimeError

    app.add_url_rule("/broken", view_func=break_down)
    headers = {"Origin": APP}
    for answer, status in (
        (await client.get("/auth/me", headers=headers), 401),
        (await client.get("/nowhere", headers=headers), 404),
        (await client.delete("/api/posts", headers=headers), 405),
        (await client.post("/auth/login", headers=headers), 415),
        (await client.get("/broken", headers=headers), 500),
    ):
        assert answer.status == status
        assert cors_headers(answer)["access-control-allow-origin"] == APP
        assert "access-control-expose-headers" in cors_headers(answer)


async def test_failure_after_the_route_is_readable_by_a_configured_origin(
    app: Service, client: Client
) -> None:
    """The commit, for example, fails when the answer is made already."""
    failures = [RuntimeError()]

    async def fail_once(response: object) -> object:
        if failures:
            raise failures.pop()
        return response

    app.after_request_funcs[None].insert(0, fail_once)
    answer = await client.get("/api/posts", headers={"Origin": APP})
    assert answer.status == 500
    assert cors_headers(answer)["access-control-allow-origin"] == APP


async def test_429_is_readable_by_a_configured_origin(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(
        database_url=database_url,
        data_dir=tmp_path,
        cors_origins=APP,
        ratelimit_enabled=True,
        ratelimit_read="1/minute",
    )
    async with running(settings) as app:
        client = Client(app)
        answers = [await client.get("/api/posts", headers={"Origin": APP}) for _ in range(2)]
        # Asking whether it may costs a page nothing.
        assert (await preflight(client, "/api/posts", "GET")).status == 204
    assert [answer.status for answer in answers] == [200, 429]
    told = cors_headers(answers[1])
    assert told["access-control-allow-origin"] == APP
    assert {"retry-after", "ratelimit-reset"} <= names(told["access-control-expose-headers"])


async def test_no_origin_is_allowed_by_default(anyone: Client) -> None:
    for answer in (
        await anyone.get("/api/posts", headers={"Origin": APP}),
        await preflight(anyone, "/api/posts", "GET"),
    ):
        assert answer.status == 200
        assert cors_headers(answer) == {}
        assert "Vary" not in answer.headers
    refusal = await preflight(anyone, "/nowhere", "GET")
    assert (refusal.status, cors_headers(refusal)) == (404, {})


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "app.example.com",
        "https://*.example.com",
        "https://app.example.com/",
        "https://app.example.com/app",
        "https://app.example.com?",
        "https://app.example.com#",
        "https://user@app.example.com",
        "https://App.example.com",
        "https://bücher.example",
        "https://app.example.com:443",
        "http://localhost:80",
        "http://localhost:0",
        "http://localhost:70000",
        "http://localhost:",
        "ftp://app.example.com",
        "https://",
        "https://app.example.com https://b.example.com",
        f"{APP},*",
    ],
)
def test_wrong_cors_origin_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CORS_ORIGINS", value)
    with pytest.raises(SettingsError, match=r"^CORS_ORIGINS: takes origins"):
        load_settings(database_url="postgresql:///", secret_key="secret")


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", ()),
        (APP, (APP,)),
        (f"{APP},{LOCAL}", (APP, LOCAL)),
        (f" {APP} , http://127.0.0.1:9000, ", (APP, "http://127.0.0.1:9000")),
        ("http://[::1]:9000,https://xn--bcher-kva.example", None),
        ("http://localhost,https://localhost:80,http://a_b.example:65535", None),
    ],
)
def test_cors_origins_are_parsed(
    monkeypatch: pytest.MonkeyPatch, value: str, origins: tuple[str, ...] | None
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", value)
    settings = load_settings(database_url="postgresql:///", secret_key="secret")
    assert settings.cors_origins == (tuple(value.split(",")) if origins is None else origins)
