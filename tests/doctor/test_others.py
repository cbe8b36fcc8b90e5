"""External providers and the collector of traces, as `service doctor` finds them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.doctor import providers, traces
from service.doctor.examination import Check, run_check
from service.doctor.findings import Deployment, Findings, Status, say_wrong
from service.testing.application import make_settings
from tests.support.doctor import Found, look
from tests.support.provider import Provider, raw, serving
from tests.support.small_proxy import small_proxy


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with serving() as served:
        yield served


async def asked(**named: dict[str, str]) -> Found:
    return await look(providers.check, make_settings(external_providers=named))


async def test_providers_that_answer_are_well(provider: Provider) -> None:
    provider.hooks["/api/v3/meta"] = raw(b"{}")
    found = await asked(acme=provider.settings(), github=provider.settings())
    assert found.is_well
    assert "Acme answers" in found["ok"]
    assert "GitHub answers" in found["ok"]


async def test_a_provider_that_is_away_or_another_is_a_problem(provider: Provider) -> None:
    provider.metadata["issuer"] = "http://127.0.0.1/other"
    away = provider.settings(issuer="http://127.0.0.1:1")
    found = await asked(acme=provider.settings(), away=away)
    assert "Acme does not answer as a provider does" in found["problem"]
    assert "Away does not answer as a provider does" in found["problem"]
    assert "EXTERNAL_AWAY_ISSUER" in found["problem"]


async def test_without_a_provider_there_is_nothing_to_ask() -> None:
    assert (await asked())["skipped"]


async def collected(reply: bytes) -> Found:
    async with small_proxy(1, replies={"/v1/traces": reply}) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        return await look(traces.check, make_settings(otel_exporter_otlp_endpoint=endpoint))


async def test_a_collector_that_takes_traces_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    found = await collected(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")
    assert found.is_well
    assert "takes traces" in found["ok"]


async def test_a_collector_that_refuses_or_is_away_is_a_warning() -> None:
    found = await collected(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
    assert "answers 401" in found["warning"]
    away = make_settings(otel_exporter_otlp_endpoint="http://127.0.0.1:1")
    assert "no collector answers" in (await look(traces.check, away))["warning"]
    assert (await look(traces.check, make_settings()))["skipped"]


async def test_traces_without_their_extra_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.doctor.traces._EXTRA", "no.such.module")
    wanted = make_settings(otel_exporter_otlp_endpoint="http://127.0.0.1:1")
    assert "extra `otel` is not installed" in (await look(traces.check, wanted))["problem"]


async def test_a_check_that_fails_or_hangs_is_a_finding_without_its_words() -> None:
    async def fail(_deployment: Deployment, found: Findings) -> None:
        found.ok("something was seen before")
        raise RuntimeError("hunter2")

    async def hang(_deployment: Deployment, _found: Findings) -> None:
        await asyncio.Event().wait()

    deployment = Deployment(make_settings(), frozenset({"REDIS_URL"}))
    seen, failed = await run_check(Check("it", fail), deployment)
    assert (seen.status, failed.status) == (Status.OK, Status.PROBLEM)
    assert failed.message == "could not be looked at (RuntimeError)"
    (hung,) = await run_check(Check("it", hang, seconds=0.01), deployment)
    assert hung.message == "no answer within 0.01 s"
    (skipped,) = await run_check(Check("it", fail, ("REDIS_URL",)), deployment)
    assert (skipped.status, "REDIS_URL is wrong" in skipped.message) == (Status.SKIPPED, True)


def test_of_several_wrong_settings_the_plural_is_used() -> None:
    assert say_wrong({"SMTP_URL"}) == "SMTP_URL is wrong"
    assert say_wrong({"SMTP_URL", "MAIL_FROM"}) == "MAIL_FROM and SMTP_URL are wrong"
