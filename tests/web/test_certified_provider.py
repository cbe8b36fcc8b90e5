"""Signing in through a certified OpenID provider that nobody here wrote, in a real browser."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import httpx2
import pytest
from playwright.async_api import BrowserContext, Page, Request, Route, expect

from service.auth.external.secrets import FlowKey, digest_of
from tests.support.certified_provider import (
    CertifiedProvider,
    certified_provider,
    install,
    sign_in_and_agree,
)
from tests.support.client import refused
from tests.support.external import Flow, begin, come_back, redeem
from tests.support.pages import Site, button
from tests.support.processes import free_port
from tests.support.provider import CLIENT_ID, CLIENT_SECRET
from tests.support.sign_in import refused_for

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

CALLBACK = "/auth/external/acme/callback"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the provider, which the first test fills."""
    return tmp_path_factory.mktemp("oidc-provider")


@pytest.fixture
def provider_port() -> int:
    """Where the provider will serve: each of the two must know of the other before it starts."""
    return free_port()


@pytest.fixture
def site_settings(provider_port: int) -> dict[str, object]:
    acme = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        # Of another site than the callback, so that neither gets cookies of the other.
        "issuer": f"http://localhost:{provider_port}",
        "title": "Acme",
    }
    return {"external_providers": {"acme": acme}}


@pytest.fixture
async def provider(
    site: Site, provider_port: int, installed: Path, tmp_path: Path
) -> AsyncIterator[CertifiedProvider]:
    if not any(installed.iterdir()):
        await install(installed)
    redirect_uri = f"{site.client.app.settings.public_address}{CALLBACK}"
    log = tmp_path / "provider.log"
    async with certified_provider(installed, log, provider_port, redirect_uri) as one:
        yield one


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


async def go_there(tab: Page, flow: Flow, mode: str, name: str | None) -> tuple[str, Request]:
    """Sign in at the provider; returns the service's code and the request of the callback.

    Without a name, the provider knows the browser already and shows no page.
    """
    callbacks: list[Request] = []
    tab.on("request", lambda one: callbacks.append(one) if CALLBACK in one.url else None)
    async with tab.expect_request(
        lambda one: one.url.startswith(flow.return_to) and "code" in query_of(one.url)
    ) as came:
        await tab.goto(f"{flow.authorization_url}&{urlencode({'response_mode': mode})}")
        if name is not None:
            await sign_in_and_agree(tab, name)
    code = query_of((await came.value).url)["code"]
    (callback,) = callbacks
    assert "cookie" not in await callback.all_headers()
    return code, callback


@pytest.mark.parametrize(("mode", "method"), [("query", "GET"), ("form_post", "POST")])
async def test_person_signs_in_and_is_the_same_the_next_time(
    site: Site, browser: BrowserContext, provider: CertifiedProvider, mode: str, method: str
) -> None:
    answers = []
    for name in ("ada", None):
        tab = await browser.new_page()
        flow = await begin(site.client, return_to=f"{site.page}/")
        code, callback = await go_there(tab, flow, mode, name)
        assert callback.method == method
        answers.append(await redeem(site.client, code, flow.verifier))
        refused(await redeem(site.client, code, flow.verifier), 400)
    first, second = answers
    assert (first.status, first.json["created"]) == (200, True)
    assert first.json["user"]["email"] == "ada@example.com"
    assert (second.status, second.json["created"]) == (200, False)
    assert second.json["user"]["id"] == first.json["user"]["id"]
    listed = await site.client.get("/auth/identities", token=second.json["access_token"])
    (identity,) = listed.json["identities"]
    assert identity["email"] == "ada@example.com"
    assert provider.why_refused() == []


async def test_person_signs_in_on_the_example_page(
    site: Site, browser: BrowserContext, provider: CertifiedProvider, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await button(tab, "Continue with Acme").click()
    await sign_in_and_agree(tab, "grace")
    await expect(tab.get_by_role("status")).to_contain_text("your name here is grace")
    await expect(tab.locator("#username")).to_have_text("grace")


async def carried_back(browser: BrowserContext, flow: Flow, name: str | None) -> dict[str, str]:
    """Sign in at the provider; returns its answer, which does not reach the service."""
    answers: list[dict[str, str]] = []

    async def keep(route: Route) -> None:
        answers.append(dict(parse_qsl(route.request.post_data)))
        await route.fulfill(body="kept")

    tab = await browser.new_page()
    await tab.route(f"**{CALLBACK}", keep)
    # By form, because redirects cannot be kept back.
    await tab.goto(f"{flow.authorization_url}&response_mode=form_post")
    if name is not None:
        await sign_in_and_agree(tab, name)
    await expect(tab.get_by_text("kept")).to_be_visible()
    (answer,) = answers
    return answer


async def test_provider_refuses_the_code_of_another_sign_in(
    site: Site, browser: BrowserContext, provider: CertifiedProvider
) -> None:
    mine, other = [await begin(site.client, return_to=f"{site.page}/") for _ in range(2)]
    stolen = await carried_back(browser, mine, "ada")
    state = query_of(other.authorization_url)["state"]
    code = (await come_back(site.client, other, {**stolen, "state": state}))["code"]
    refused_for(await redeem(site.client, code, other.verifier), 401, "provider_refused")
    # The verifier that the service sends is the one of the sign-in that goes on.
    assert provider.why_refused() == ["code_verifier does not match code_challenge"]


async def test_provider_gave_the_service_its_one_answer_to_a_code(
    site: Site, browser: BrowserContext, provider: CertifiedProvider
) -> None:
    flow = await begin(site.client, return_to=f"{site.page}/")
    carried = await carried_back(browser, flow, "ada")
    code = (await come_back(site.client, flow, carried))["code"]
    assert (await redeem(site.client, code, flow.verifier)).status == 200

    query = query_of(flow.authorization_url)
    key = FlowKey(site.client.app.settings.secret_key.get_secret_value())
    form = {
        "grant_type": "authorization_code",
        "code": carried["code"],
        "redirect_uri": query["redirect_uri"],
        "code_verifier": key.secrets_of(digest_of(query["state"])).verifier,
    }
    pair = quote_plus(CLIENT_ID), quote_plus(CLIENT_SECRET)
    url = f"{flow.authorization_url.partition('/auth')[0]}/token"
    async with httpx2.AsyncClient() as client:
        answer = await client.post(url, data=form, auth=pair)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert provider.why_refused() == ["authorization code already consumed"]


async def test_provider_demands_the_challenge_that_the_service_sends(
    site: Site, browser: BrowserContext, provider: CertifiedProvider
) -> None:
    flow = await begin(site.client, return_to=f"{site.page}/")
    query = query_of(flow.authorization_url)
    del query["code_challenge"], query["code_challenge_method"]
    tab = await browser.new_page()
    async with tab.expect_request(lambda one: one.url.startswith(flow.return_to)) as came:
        await tab.goto(f"{flow.authorization_url.partition('?')[0]}?{urlencode(query)}")
    assert query_of((await came.value).url) == {"error": "provider_refused"}
