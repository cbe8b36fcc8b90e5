"""Adding passkeys and security keys to an account."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import cbor2
import pytest

from service.testing.clock import Clock
from tests.support.authenticator import SoftwareAuthenticator, decode, encode
from tests.support.client import Client, faults, refused
from tests.support.passkeys import OPTIONS, add_passkey, creation_options
from tests.support.second_factor import verify_email


async def test_a_passkey_is_added_and_listed_with_its_name_kind_and_relying_party(
    client: Client,
) -> None:
    one = await client.sign_up()
    options = await creation_options(one)
    public_key = options["publicKey"]
    assert options["expires_in"] == 600
    assert len(decode(public_key["challenge"])) == 32
    assert public_key["rp"]["id"] == "localhost"
    assert decode(public_key["user"]["id"]) == UUID(one.user["id"]).bytes
    assert public_key["user"]["name"] == one.user["email"]
    assert [one["alg"] for one in public_key["pubKeyCredParams"]] == [-8, -7, -257]
    assert public_key["attestation"] == "none"
    assert public_key["authenticatorSelection"] == {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required",
    }  # fmt: skip
    credential = SoftwareAuthenticator().create(options)
    answer = await one.post("/auth/passkeys", {"credential": credential, "name": "My phone"})
    assert answer.status == 201
    passkey = answer.json
    assert answer.headers["Location"] == f"/auth/passkeys/{passkey['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert passkey["name"] == "My phone"
    assert passkey["kind"] == "passkey"
    assert passkey["rp_id"] == "localhost"
    assert passkey["synced"] is False
    assert passkey["last_used_at"] is None
    assert (await one.get("/auth/passkeys")).json == {"passkeys": [passkey]}


async def test_options_without_a_body_are_those_of_a_passkey(client: Client) -> None:
    one = await client.sign_up()
    await verify_email(one)
    sent: tuple[dict[str, Any], ...] = ({}, {"json": {}}, {"json": {"kind": "passkey"}})
    for options in sent:
        answer = await one.request("POST", OPTIONS, **options)
        selection = answer.json["publicKey"]["authenticatorSelection"]
        assert selection["residentKey"] == "required"
    assert faults(await one.post(OPTIONS, {"kind": "other"})) == {"kind"}
    assert (await one.request("POST", OPTIONS, data=b"{}")).status == 415


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
async def test_a_security_key_needs_no_user_verification(client: Client, algorithm: Any) -> None:
    one = await client.sign_up()
    options = await creation_options(one, "security_key")
    selection = options["publicKey"]["authenticatorSelection"]
    assert selection["residentKey"] == selection["userVerification"] == "discouraged"
    credential = SoftwareAuthenticator(algorithm, verifies_user=False).create(options)
    answer = await one.post("/auth/passkeys", {"credential": credential})
    assert answer.status == 201
    assert (answer.json["kind"], answer.json["name"]) == ("security_key", "Security key")


async def test_a_passkey_that_did_not_verify_its_user_is_refused(client: Client) -> None:
    one = await client.sign_up()
    credential = SoftwareAuthenticator(verifies_user=False).create(await creation_options(one))
    answer = await one.post("/auth/passkeys", {"credential": credential})
    assert refused(answer, 403)["reason"] == "passkey_refused"
    assert (await one.get("/auth/passkeys")).json == {"passkeys": []}


async def test_the_name_is_by_default_the_providers_where_it_is_known(client: Client) -> None:
    one = await client.sign_up()
    bitwarden = UUID("d548826e-79b4-db40-a3d8-11116f7e8349").bytes
    passkey = await add_passkey(one, SoftwareAuthenticator(aaguid=bitwarden, synced=True))
    assert (passkey["name"], passkey["synced"]) == ("Bitwarden", True)
    assert (await add_passkey(one))["name"] == "Passkey"


async def test_attestation_is_not_looked_at_whatever_the_client_sends(client: Client) -> None:
    one = await client.sign_up()
    credential = SoftwareAuthenticator().create(await creation_options(one))
    attested = cbor2.loads(decode(credential["response"]["attestationObject"]))
    for statement in ({"alg": -7, "sig": b"no", "x5c": [b"no certificate"]}, {"any": "thing"}):
        sent = cbor2.dumps({**attested, "fmt": "packed", "attStmt": statement})
        credential["response"]["attestationObject"] = encode(sent)
    assert (await one.post("/auth/passkeys", {"credential": credential})).status == 201


async def test_adding_needs_a_fresh_session_and_a_verified_address(
    client: Client, clock: Clock
) -> None:
    one = await client.sign_up()
    assert refused(await one.post(OPTIONS), 403)["reason"] == "email_unverified"
    await verify_email(one)
    clock.advance(901)
    answer = await one.post(OPTIONS)
    body = refused(answer, 403)
    assert (body["reason"], body["methods"]) == ("step_up_required", ["password"])
    assert faults(await one.post(OPTIONS, {"kind": 1})) == {"kind"}


async def test_a_challenge_is_good_once_for_its_session_and_ten_minutes(
    client: Client, clock: Clock
) -> None:
    one = await client.sign_up()
    other = Client(one.app)
    await other.login(one.user["email"])
    authenticator = SoftwareAuthenticator()
    options = await creation_options(one)
    credential = authenticator.create(options)
    answer = await other.post("/auth/passkeys", {"credential": credential})
    assert refused(answer, 403)["reason"] == "passkey_refused"
    assert (await one.post("/auth/passkeys", {"credential": credential})).status == 201
    # Another credential that answers the same challenge.
    again = await one.post("/auth/passkeys", {"credential": authenticator.create(options)})
    assert refused(again, 403)["reason"] == "passkey_refused"
    late = authenticator.create(await creation_options(one))
    clock.advance(601)
    answer = await one.post("/auth/passkeys", {"credential": late})
    assert refused(answer, 403)["reason"] == "passkey_refused"


async def test_a_challenge_ends_with_a_change_of_the_account(client: Client) -> None:
    one = await client.sign_up()
    waiting = SoftwareAuthenticator().create(await creation_options(one))
    await add_passkey(one)
    answer = await one.post("/auth/passkeys", {"credential": waiting})
    assert refused(answer, 403)["reason"] == "passkey_refused"


async def test_what_the_page_and_the_browser_say_is_checked(client: Client) -> None:
    one = await client.sign_up()
    wrong: list[dict[str, Any]] = [
        {"origin": "http://localhost:8000/"},
        {"origin": "http://localhost:8001"},
        {"origin": "https://localhost:8000"},
        {"origin": "http://LOCALHOST:8000"},
        {"origin": "http://app.localhost:8000"},
        {"crossOrigin": True},
        {"topOrigin": "https://example.net"},
        {"type": "webauthn.get"},
        {"challenge": encode(bytes(32))},
        {"challenge": ""},
        {"challenge": 7},
    ]
    for client_data in wrong:
        credential = SoftwareAuthenticator().create(await creation_options(one), **client_data)
        answer = await one.post("/auth/passkeys", {"credential": credential})
        assert refused(answer, 403)["reason"] == "passkey_refused", client_data
    options = await creation_options(one)
    options["publicKey"]["rp"]["id"] = "example.com"
    credential = SoftwareAuthenticator().create(options)
    answer = await one.post("/auth/passkeys", {"credential": credential})
    assert refused(answer, 403)["reason"] == "passkey_refused"


async def test_a_body_of_another_form_is_400_and_says_which_field(client: Client) -> None:
    one = await client.sign_up()
    credential = SoftwareAuthenticator().create(await creation_options(one))
    response = credential["response"]
    for sent, field in (
        (None, "credential"),
        ("text", "credential"),
        ({**credential, "padding": "x" * 16_384}, "credential"),
        ({**credential, "type": "password"}, "credential.type"),
        ({**credential, "id": "a+b/"}, "credential.id"),
        ({**credential, "rawId": "abcde"}, "credential.rawId"),
        ({**credential, "response": {**response, "clientDataJSON": ""}},
         "credential.response.clientDataJSON"),
        ({**credential, "response": {**response, "attestationObject": "A="}},
         "credential.response.attestationObject"),
    ):  # fmt: skip
        assert faults(await one.post("/auth/passkeys", {"credential": sent})) == {field}
    for name in ("", " ", "x" * 101, "a\0b"):
        body = {"credential": credential, "name": name}
        assert faults(await one.post("/auth/passkeys", body)) == {"name"}
    body = {"credential": {**credential, "more": {"members": []}}, "name": "x" * 100}
    assert (await one.post("/auth/passkeys", body)).status == 201


async def test_a_credential_is_registered_once_for_all_accounts(client: Client) -> None:
    one, two = await client.sign_up(), await client.sign_up()
    authenticator = SoftwareAuthenticator()
    await add_passkey(one, authenticator)
    (credential,) = authenticator.credentials
    for account in (one, two):
        options = await creation_options(account)
        excluded = [one["id"] for one in options["publicKey"]["excludeCredentials"]]
        assert excluded == ([encode(credential.id)] if account is one else [])
        challenge = options["publicKey"]["challenge"]
        sent = {"credential": authenticator.attest(credential, challenge)}
        assert (await account.post("/auth/passkeys", sent)).status == 409


async def test_twenty_passkeys_are_the_most_of_any_number_that_are_added_at_once(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    await add_passkey(one)
    await db.execute(
        "INSERT INTO passkeys SELECT gen_random_uuid(), user_id, decode(md5(n::text), 'hex'),"
        " public_key, 0, kind, name, aaguid, synced, rp_id, created_at"
        " FROM passkeys, generate_series(1, 18) AS n"
    )
    options = [await creation_options(one) for _ in range(4)]
    answers = await asyncio.gather(
        *(
            one.post("/auth/passkeys", {"credential": SoftwareAuthenticator().create(each)})
            for each in options
        )
    )
    assert sorted(answer.status for answer in answers) == [201, 403, 403, 403]
    assert (await one.post(OPTIONS)).status == 409
    assert await db.fetchval("SELECT count(*) FROM passkeys") == 20


async def test_a_key_that_does_not_fit_its_algorithm_is_refused(client: Client) -> None:
    one = await client.sign_up()
    authenticator = SoftwareAuthenticator("ES256")
    for key in (
        {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)},
        {1: 2, 3: -7, -1: 2, -2: bytes(48), -3: bytes(48)},
        {1: 1, 3: -8, -1: 6, -2: bytes(31)},
        {1: 3, 3: -257, -1: b"\xff" * 128, -2: b"\x01\x00\x01"},
        {1: 3, 3: -257, -1: b"\xff" * 1024, -2: b"\x01\x00\x01"},
        {1: 2, 3: -35, -1: 2, -2: bytes(48), -3: bytes(48)},
        {1: 2},
        {},
    ):
        credential = authenticator.create(await creation_options(one))
        attested = cbor2.loads(decode(credential["response"]["attestationObject"]))
        attested["authData"] = attested["authData"][: 37 + 16 + 2 + 32] + cbor2.dumps(key)
        credential["response"]["attestationObject"] = encode(cbor2.dumps(attested))
        answer = await one.post("/auth/passkeys", {"credential": credential})
        assert refused(answer, 403)["reason"] == "passkey_refused", key
