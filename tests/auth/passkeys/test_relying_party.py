"""The relying party: its domain and its origins, by settings, and what is without one."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.settings.relying_party import RelyingParty
from service.testing.application import make_settings, running
from tests.support.authenticator import SoftwareAuthenticator
from tests.support.client import Client, refused
from tests.support.passkeys import LOGIN, OPTIONS, add_passkey, login_options, show, sign_in

ANDROID = "android:apk-key-hash:" + "x" * 43


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("localhost", ["http://localhost:8000"])),
        ({"port": 9000}, ("localhost", ["http://localhost:9000"])),
        ({"port": 80}, ("localhost", ["http://localhost"])),
        (
            {"public_url": "https://App.example.com:443/base"},
            ("app.example.com", ["https://app.example.com"]),
        ),
        (
            {
                "public_url": "https://api.example.com",
                "webauthn_rp_id": "example.com",
                "cors_origins": "https://www.example.com:8443,https://example.net,"
                "https://notexample.com,https://example.com",
            },
            (
                "example.com",
                ["https://api.example.com", "https://www.example.com:8443", "https://example.com"],
            ),
        ),
        (
            {
                "public_url": "https://example.com",
                "webauthn_origins": f"https://example.com, https://example.net,{ANDROID}",
            },
            ("example.com", ["https://example.com", "https://example.net", ANDROID]),
        ),
    ],
)
def test_the_relying_party_is_of_the_public_url_unless_it_is_set(
    values: dict[str, Any], expected: tuple[str, list[str]]
) -> None:
    found = make_settings(**values).relying_party
    assert found == RelyingParty(expected[0], tuple(expected[1]))


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.7:8000", "[::1]:8000", "[2001:db8::1]"])
def test_under_an_ip_address_passkeys_are_off(host: str) -> None:
    assert make_settings(public_url=f"http://{host}").relying_party is None


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"webauthn_rp_id": "example.com"}, "WEBAUTHN_RP_ID"),
        ({"webauthn_rp_id": "127.0.0.1"}, "webauthn_rp_id"),
        ({"webauthn_rp_id": "Example.com"}, "webauthn_rp_id"),
        ({"webauthn_rp_id": "https://example.com"}, "webauthn_rp_id"),
        ({"webauthn_rp_id": "example.com."}, "webauthn_rp_id"),
        ({"webauthn_origins": "https://example.net"}, "WEBAUTHN_RP_ID"),
        ({"webauthn_origins": "http://localhost:8000/"}, "webauthn_origins"),
        ({"webauthn_origins": "android:apk-key-hash:short"}, "webauthn_origins"),
        ({"webauthn_origins": "*"}, "webauthn_origins"),
    ],
)
def test_a_relying_party_that_no_origin_fits_is_refused_by_its_name(
    values: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        make_settings(**values)


async def test_without_a_relying_party_there_are_no_ceremonies(database_url: str) -> None:
    settings = make_settings(database_url=database_url, public_url="http://127.0.0.1:8000")
    async with running(settings) as app:
        client = Client(app)
        one = await client.sign_up()
        refused(await client.post(f"{LOGIN}/options"), 404)
        refused(await one.post(OPTIONS), 404)
        credential = SoftwareAuthenticator()
        made = credential.create({"publicKey": {
            "challenge": "", "rp": {"id": "localhost"}, "user": {"id": ""},
        }})  # fmt: skip
        refused(await one.post("/auth/passkeys", {"credential": made}), 404)
        shown = credential.get({"publicKey": {"challenge": "", "rpId": "localhost"}})
        shown["response"]["userHandle"] = None
        refused(await show(client, shown), 404)
        refused(await client.get("/.well-known/webauthn"), 404)
        refused(await one.post("/auth/step-up/options"), 409)
        assert (await one.get("/auth/passkeys")).json == {"passkeys": []}


async def test_origins_outside_the_domain_are_listed_for_browsers_and_taken(
    database_url: str,
) -> None:
    origins = f"https://example.com,https://www.example.com,https://example.net,{ANDROID}"
    settings = make_settings(
        database_url=database_url, public_url="https://example.com", webauthn_origins=origins
    )
    async with running(settings) as app:
        client = Client(app)
        answer = await client.get("/.well-known/webauthn")
        assert answer.json == {"origins": ["https://example.net"]}
        one = await client.sign_up()
        authenticator = SoftwareAuthenticator(origin="https://example.net")
        await add_passkey(one, authenticator)
        for origin in origins.split(","):
            authenticator.origin = origin
            assert (await sign_in(client, authenticator)).status == 200
        authenticator.origin = "https://other.example.com"
        answer = await show(client, authenticator.get(await login_options(client)))
        assert refused(answer, 401)["reason"] == "passkey_refused"


async def test_without_other_domains_there_is_no_list_of_origins(client: Client) -> None:
    refused(await client.get("/.well-known/webauthn"), 404)


async def test_beginning_is_limited_by_address(database_url: str) -> None:
    settings = make_settings(
        database_url=database_url, ratelimit_enabled=True, ratelimit_begin="2/minute"
    )
    async with running(settings) as app:
        client = Client(app)
        statuses = [(await client.post(f"{LOGIN}/options")).status for _ in range(3)]
        assert statuses == [200, 200, 429]
