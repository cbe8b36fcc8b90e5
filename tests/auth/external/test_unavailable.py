"""Providers that are away, drip, flood, redirect or lie."""

import asyncio
import time
from typing import Any

import pytest

from service.auth.external import calls
from service.auth.external.providers import Providers
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.clock import Clock
from tests.support.client import Client
from tests.support.external import VERIFIED, Flow, begin, obtain_code, redeem, sign_in, start
from tests.support.provider import (
    Hook,
    Provider,
    Request,
    SigningKey,
    drip,
    flood,
    gzip_bomb,
    raw,
    rsa_key,
    send_json,
    silence,
)
from tests.support.sign_in import refused_for

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patience that does not keep the test waiting."""
    monkeypatch.setattr(calls, "SECONDS", 0.5)


async def unavailable(client: Client, provider: Provider, case: object = None) -> None:
    """Assert that the sign-in cannot go on at present, soon."""
    began = time.monotonic()
    flow = Flow()
    answer = await start(client, flow)
    if answer.status == 200:
        flow.authorization_url = answer.json["authorization_url"]
        code = await obtain_code(client, provider, flow, **VERIFIED)
        answer = await redeem(client, code, flow.verifier)
    assert (answer.status, answer.json.get("reason")) == (503, "provider_unavailable"), case
    assert int(answer.headers["Retry-After"]) > 0
    assert time.monotonic() - began < 6


HOOKS: dict[str, Hook] = {
    "silence": silence,
    "drip": drip,
    "flood": flood,
    "gzip": gzip_bomb(),
    "long": raw(b'{"a": "' + b"x" * 300_000 + b'"}'),
    "redirect": raw(b"", 302, Location="/elsewhere"),
    "failure": raw(b"{}", 500),
    "busy": raw(b"{}", 429),
    "html": raw(b"<html>"),
    "empty": raw(b""),
    "deep": raw(b"[" * 200_000),
    "latin": raw(b'{"a": "\xe9"}'),
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/keys"])
async def test_provider_that_misbehaves_is_unavailable(
    client: Client, provider: Provider, path: str
) -> None:
    for name, hook in HOOKS.items():
        provider.hooks[path] = hook
        await unavailable(client, provider, name)
    assert provider.asked("/elsewhere") == 0


@pytest.mark.usefixtures("short")
async def test_calls_have_little_more_time_together_than_one_of_them(
    client: Client, provider: Provider
) -> None:
    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        await provider.answer(request, writer)

    provider.github_emails = [{"email": "ada@example.com", "primary": True, "verified": True}]
    flow = await begin(client, name="github")
    code = await obtain_code(client, provider, flow)
    for path in ("/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails"):
        provider.hooks[path] = slow
    refused_for(await redeem(client, code, flow.verifier), 503, "provider_unavailable")


async def test_provider_that_is_not_there_is_unavailable(database_url: str) -> None:
    nobody = {"client_id": "a", "client_secret": "b", "issuer": "http://127.0.0.1:1"}
    settings = make_settings(
        database_url=database_url, cors_origins="http://app.test",
        external_providers={"acme": nobody},
    )  # fmt: skip
    async with running(settings) as app:
        refused_for(await start(Client(app), Flow()), 503, "provider_unavailable")


LIES: list[dict[str, Any]] = [
    {"issuer": "http://127.0.0.1:1"},
    {"issuer": ...},
    {"token_endpoint": ...},
    {"token_endpoint": "ftp://127.0.0.1/"},
    {"jwks_uri": "http://example.com/keys"},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"id_token_signing_alg_values_supported": ["HS256", "none"]},
]


async def test_metadata_that_cannot_be_the_providers_is_not_used(
    client: Client, provider: Provider
) -> None:
    for lie in LIES:
        provider.metadata = lie
        refused_for(await start(client, Flow()), 503, "provider_unavailable")


NO_KEYS = [b"{}", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "oct"}, 7]}']


async def test_key_set_without_usable_keys_is_no_answer(client: Client, provider: Provider) -> None:
    for body in NO_KEYS:
        provider.hooks["/keys"] = raw(body)
        await unavailable(client, provider, body)


@pytest.mark.parametrize("path", ["/token", "/keys"])
async def test_code_stays_good_when_the_provider_could_not_be_asked(
    client: Client, provider: Provider, path: str
) -> None:
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    provider.hooks[path] = raw(b"{}", 503)
    refused_for(await redeem(client, code, flow.verifier), 503, "provider_unavailable")
    del provider.hooks[path]
    assert (await redeem(client, code, flow.verifier)).status == 200


async def test_20_calls_go_on_at_once_and_none_holds_a_database_connection(
    settings: Settings, provider: Provider
) -> None:
    arrived, go = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request: Request, writer: asyncio.StreamWriter) -> None:
        arrived.release()
        await go.wait()
        await provider.answer(request, writer)

    async with running(settings) as app:
        client = Client(app)
        flows = [await begin(client) for _ in range(22)]
        codes = [
            await obtain_code(
                client, provider, flow, sub=f"p{number}", email=f"p{number}@example.com",
                email_verified=True,
            )
            for number, flow in enumerate(flows)
        ]  # fmt: skip
        provider.hooks["/token"] = wait
        waiting = [
            asyncio.create_task(redeem(client, code, flow.verifier))
            for code, flow in zip(codes, flows, strict=True)
        ]
        for _ in range(calls.AT_ONCE):
            await arrived.acquire()
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, _ = await asyncio.wait(set(waiting) - done, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        for task in done:
            refused_for(task.result(), 503, "provider_unavailable")
        # The pool has 5 connections, and another request gets one at once.
        assert (await client.register("bob@example.com")).status == 201
        assert provider.most_open == calls.AT_ONCE
        go.set()
        rest = await asyncio.gather(*(task for task in waiting if task not in done))
        assert [answer.status for answer in rest] == [200] * calls.AT_ONCE


async def test_metadata_and_keys_are_fetched_once_and_again_when_they_are_old(
    client: Client, provider: Provider, clock: Clock
) -> None:
    await asyncio.gather(*(sign_in(client, provider) for _ in range(5)))
    assert (provider.asked(DISCOVERY), provider.asked("/keys")) == (1, 1)
    clock.advance(3_601)
    await sign_in(client, provider)
    assert (provider.asked(DISCOVERY), provider.asked("/keys")) == (1, 2)
    clock.advance(24 * 3_600)
    await sign_in(client, provider)
    assert (provider.asked(DISCOVERY), provider.asked("/keys")) == (2, 3)


async def test_new_key_is_fetched_at_once_and_an_unknown_one_once_a_minute(
    client: Client, provider: Provider, clock: Clock
) -> None:
    assert (await sign_in(client, provider)).status == 200
    clock.advance(61)
    provider.keys = [SigningKey(rsa_key("two"), kid="two")]
    assert (await sign_in(client, provider)).status == 200
    assert provider.asked("/keys") == 2
    provider.signer = SigningKey(rsa_key("forger"), kid="three")
    for _ in range(3):
        refused_for(await sign_in(client, provider), 401, "provider_refused")
    assert provider.asked("/keys") == 2
    clock.advance(61)
    for _ in range(3):
        refused_for(await sign_in(client, provider), 401, "provider_refused")
    assert provider.asked("/keys") == 3


async def test_new_key_is_there_for_all_who_come_while_it_is_fetched(
    client: Client, provider: Provider, clock: Clock
) -> None:
    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await provider.answer(request, writer)

    assert (await sign_in(client, provider)).status == 200
    clock.advance(61)
    provider.keys = [SigningKey(rsa_key("two"), kid="two")]
    provider.hooks["/keys"] = slow
    answers = await asyncio.gather(*(sign_in(client, provider) for _ in range(3)))
    assert [answer.status for answer in answers] == [200] * 3
    assert provider.asked("/keys") == 2


async def test_old_keys_serve_for_a_day_while_the_provider_keeps_them_back(
    client: Client, provider: Provider, clock: Clock
) -> None:
    assert (await sign_in(client, provider)).status == 200
    provider.hooks["/keys"] = raw(b"{}", 500)
    clock.advance(23 * 3_600)
    for _ in range(3):
        assert (await sign_in(client, provider)).status == 200
    # Not everybody waits for them meanwhile.
    assert provider.asked("/keys") == 2
    clock.advance(3_601)
    await unavailable(client, provider)


async def test_calls_carry_no_cookie_of_an_earlier_answer(
    client: Client, provider: Provider
) -> None:
    async def discovery(_request: Request, writer: asyncio.StreamWriter) -> None:
        send_json(writer, provider.discovery())

    provider.hooks[DISCOVERY] = discovery
    provider.hooks["/keys"] = raw(b'{"keys": []}', Set_Cookie="a=b; Path=/")
    await unavailable(client, provider)
    await unavailable(client, provider)
    assert all("cookie" not in request.headers for request in provider.requests)
    assert all(request.headers["accept-encoding"] == "identity" for request in provider.requests)


async def test_metrics_count_calls_by_provider_and_outcome(
    client: Client, provider: Provider
) -> None:
    await sign_in(client, provider)
    provider.token = "no token"
    await sign_in(client, provider)
    metrics = (await client.get("/metrics")).body.decode()
    assert 'external_calls_total{outcome="succeeded",provider="acme"} 4.0' in metrics
    assert 'external_call_seconds_total{outcome="succeeded",provider="acme"}' in metrics
    assert 'logins_total{method="external",outcome="succeeded"} 1.0' in metrics
    assert 'logins_total{method="external",outcome="failed"} 1.0' in metrics
    assert client.app.component(Providers).calls.ended["acme", "refused"] == 0
