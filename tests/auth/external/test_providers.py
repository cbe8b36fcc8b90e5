"""GitHub, Microsoft, and a provider that nobody here wrote."""

import asyncio
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import httpx2
import pytest

from service.testing.application import make_settings, running
from tests.support.client import Client
from tests.support.external import Flow, begin, come_back, redeem, sign_in
from tests.support.provider import Provider, Request, raw, send_json
from tests.support.sign_in import refused_for

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"


def email(address: str, *, primary: bool = True, verified: bool = True) -> dict[str, Any]:
    return {"email": address, "primary": primary, "verified": verified, "visibility": None}


async def test_github_account_is_known_by_its_number(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    provider.github_emails = [
        email("old@example.com", primary=False), email("octo@example.com"),
    ]  # fmt: skip
    answer = await sign_in(client, provider, "github", login="octocat")
    assert answer.status == 200, answer.body
    assert answer.json["user"]["email"] == "octo@example.com"
    row = await db.fetchrow("SELECT * FROM identities")
    assert row is not None
    assert (row["issuer"], row["subject"], row["name"]) == (
        provider.issuer, "583231", "octocat",
    )  # fmt: skip
    provider.github_emails = []
    again = await sign_in(client, provider, "github", login="renamed")
    assert again.json["user"]["id"] == answer.json["user"]["id"]


@pytest.mark.parametrize(
    "emails",
    [
        [],
        [email("a@example.com", verified=False)],
        [email("a@example.com", primary=False)],
        [7, {"primary": True, "verified": True}],
        {"message": "Not Found"},
    ],
)
async def test_github_address_that_is_not_primary_and_verified_makes_no_account(
    client: Client, provider: Provider, emails: Any
) -> None:
    provider.github_emails = emails
    # What the profile shows is anybody's.
    answer = await sign_in(client, provider, "github", email="ada@example.com")
    refused_for(answer, 403, "email_unverified")


@pytest.mark.parametrize("number", [None, "583231", True, 1.5])
async def test_github_account_without_a_number_is_no_answer(
    client: Client, provider: Provider, number: object
) -> None:
    answer = await sign_in(client, provider, "github", id=number)
    refused_for(answer, 503, "provider_unavailable")


async def test_github_code_that_is_refused_with_200_is_refused(
    client: Client, provider: Provider
) -> None:
    provider.hooks["/login/oauth/access_token"] = raw(b'{"error": "bad_verification_code"}')
    refused_for(await sign_in(client, provider, "github", login="a"), 401, "provider_refused")


@pytest.fixture
def microsoft(provider: Provider) -> Provider:
    """The provider as Microsoft's `common`, whose issuer is a template."""
    template = f"{provider.issuer}/{{tenantid}}/v2.0"

    async def discovery(_request: Request, writer: asyncio.StreamWriter) -> None:
        send_json(writer, {**provider.discovery(), "issuer": template})

    provider.hooks["/common/v2.0/.well-known/openid-configuration"] = discovery
    return provider


def of_tenant(provider: Provider, tenant: str, **claims: Any) -> dict[str, Any]:
    own = {"iss": f"{provider.issuer}/{tenant}/v2.0", "tid": tenant, "email": "ada@example.com"}
    return {**own, **claims}


@pytest.mark.parametrize(
    ("tenant", "claims"),
    [
        (TENANT, {"xms_edov": True}),
        (TENANT, {"xms_edov": "1"}),
        (TENANT, {"xms_edov": 1}),
        (PERSONAL, {}),
    ],
)
async def test_microsoft_vouches_for_addresses_of_proven_domains_and_personal_accounts(
    client: Client, microsoft: Provider, tenant: str, claims: dict[str, Any]
) -> None:
    answer = await sign_in(client, microsoft, "microsoft", **of_tenant(microsoft, tenant, **claims))
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "claims", [{}, {"email_verified": True}, {"xms_edov": False}, {"xms_edov": "0"}]
)
async def test_microsoft_address_that_a_tenant_wrote_makes_no_account(
    client: Client, microsoft: Provider, claims: dict[str, Any]
) -> None:
    answer = await sign_in(client, microsoft, "microsoft", **of_tenant(microsoft, TENANT, **claims))
    refused_for(answer, 403, "email_unverified")


@pytest.mark.parametrize("tenant", ["common", "{tenantid}", "evil/..", f"{TENANT}/x", ""])
async def test_microsoft_tenant_that_is_no_guid_is_refused(
    client: Client, microsoft: Provider, tenant: str
) -> None:
    claims = of_tenant(microsoft, tenant, xms_edov=True)
    answer = await sign_in(client, microsoft, "microsoft", **claims)
    refused_for(answer, 401, "provider_refused")


async def test_microsoft_issuer_of_another_tenant_than_the_tokens_is_refused(
    client: Client, microsoft: Provider
) -> None:
    claims = of_tenant(microsoft, TENANT, xms_edov=True) | {"tid": PERSONAL}
    answer = await sign_in(client, microsoft, "microsoft", **claims)
    refused_for(answer, 401, "provider_refused")


async def test_microsoft_may_name_a_tenant_in_its_answer(
    client: Client, microsoft: Provider
) -> None:
    flow = await begin(client, name="microsoft")
    carried = microsoft.consent(flow.authorization_url)
    path = "/auth/external/microsoft/callback"
    other = {**carried, "iss": f"http://127.0.0.1:1/{TENANT}/v2.0"}
    assert (await client.get(path, query_string=other)).status == 400
    own = {**carried, "iss": f"{microsoft.issuer}/{TENANT}/v2.0"}
    assert (await client.get(path, query_string=own)).status == 303


async def test_other_providers_have_no_template_for_their_issuer(
    client: Client, provider: Provider
) -> None:
    provider.metadata = {"issuer": f"{provider.issuer}/{{tenantid}}/v2.0"}
    body = {"return_to": "http://app.test/", "code_challenge": Flow().challenge}
    answer = await client.post("/auth/external/acme", body)
    refused_for(answer, 503, "provider_unavailable")


# It uses what its own library calls deprecated.
@pytest.mark.filterwarnings("ignore")
async def test_whole_round_at_a_provider_that_others_wrote(database_url: str) -> None:
    oidc_provider_mock = import_module("oidc_provider_mock")
    claims = {"email": "ada@example.com", "email_verified": True, "name": "Ada"}
    user = oidc_provider_mock.User(sub="ada", claims=claims)
    with oidc_provider_mock.run_server_in_thread(port=0, user_claims=[user]) as server:
        issuer = f"http://localhost:{server.server_port}"
        mock = {"client_id": "a", "client_secret": "b", "issuer": issuer}
        settings = make_settings(
            database_url=database_url, cors_origins="http://app.test",
            external_providers={"mock": mock},
        )  # fmt: skip
        async with running(settings) as app:
            client = Client(app)
            flow = await begin(client, name="mock")
            async with httpx2.AsyncClient() as browser:
                page = await browser.post(flow.authorization_url, data={"sub": "ada"})
            assert page.status_code == 302, page.text
            carried = dict(parse_qsl(urlsplit(page.headers["Location"]).query))
            code = (await come_back(client, flow, carried))["code"]
            answer = await redeem(client, code, flow.verifier)
    assert answer.status == 200, answer.body
    assert answer.json["user"]["email"] == "ada@example.com"
