"""Each line of what an id token must be, with a token that is wrong in that alone."""

from typing import Any

import jwt
import pytest

from service import clock as service_clock
from service.testing.clock import Clock
from tests.support.client import Client
from tests.support.external import VERIFIED, begin, obtain_code, redeem, sign_in
from tests.support.provider import CLIENT_ID, Provider, SigningKey, ec_key, raw, rsa_key
from tests.support.sign_in import refused_for


async def refuses(client: Client, provider: Provider, case: object = None) -> None:
    """Assert that the provider's tokens are refused."""
    answer = await sign_in(client, provider)
    assert (answer.status, answer.json.get("reason")) == (401, "provider_refused"), case


def now() -> int:
    return int(service_clock.now().timestamp())


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"iss": "http://127.0.0.1:1"},
    {"iss": ...},
    {"iss": ["http://127.0.0.1:1"]},
    {"aud": "another"},
    {"aud": ...},
    {"aud": []},
    {"aud": [CLIENT_ID, "another"]},
    {"aud": [CLIENT_ID, "another"], "azp": "another"},
    {"azp": "another"},
    {"azp": None},
    {"nonce": "another"},
    {"nonce": ...},
    {"nonce": 7},
    {"nonce": "\ud800"},
    {"sub": ""},
    {"sub": "a" * 256},
    {"sub": 7},
    {"sub": ...},
    {"sub": "a\0b"},
    {"exp": ...},
    {"exp": "tomorrow"},
    {"exp": True},
    {"exp": 0},
    {"exp": -(10**400)},
    {"iat": ...},
    {"iat": 10**400},
    {"iat": 4_000_000_000},
]


async def test_token_with_a_wrong_claim_is_refused(client: Client, provider: Provider) -> None:
    for claims in WRONG_CLAIMS:
        provider.claims = claims
        await refuses(client, provider, claims)


async def test_issuer_is_compared_exactly(client: Client, provider: Provider) -> None:
    provider.claims = {"iss": f"{provider.issuer}/"}
    await refuses(client, provider)


RIGHT_CLAIMS: list[dict[str, Any]] = [
    {"aud": [CLIENT_ID]},
    {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
    {"azp": CLIENT_ID},
    {"sub": "a" * 255},
]


async def test_token_for_this_service_is_accepted_in_each_form(
    client: Client, provider: Provider
) -> None:
    for number, claims in enumerate(RIGHT_CLAIMS):
        provider.claims = {"sub": f"p{number}", "email": f"p{number}@example.com", **claims}
        assert (await sign_in(client, provider)).status == 200, claims


async def test_clocks_may_differ_by_a_minute_and_no_more(
    client: Client, provider: Provider, clock: Clock
) -> None:
    for claims, status in (
        ({"exp": now() - 50}, 200),
        ({"exp": now() - 70}, 401),
        ({"iat": now() + 50}, 200),
        ({"iat": now() + 70}, 401),
    ):
        provider.claims = claims
        assert (await sign_in(client, provider)).status == status, claims


async def test_token_of_another_key_of_the_same_name_is_refused(
    client: Client, provider: Provider
) -> None:
    provider.signer = SigningKey(rsa_key("forger"))
    await refuses(client, provider)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS384", "rs256"])
async def test_algorithm_that_is_not_announced_or_not_asymmetric_is_refused(
    client: Client, provider: Provider, algorithm: str
) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["RS256", "none", "HS256"]}
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    grant = next(iter(provider.grants.values()))
    signed = provider.id_token(grant)
    payload = signed.split(".")[1]
    header = jwt.utils.base64url_encode(f'{{"alg":"{algorithm}","kid":"one"}}'.encode()).decode()
    message = f"{header}.{payload}"
    signature = b""
    if algorithm == "HS256":  # with the public key as the secret
        public = str(provider.keys[0].public()).encode()
        signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
            message.encode(), public
        )
    elif algorithm.upper().startswith("RS"):
        signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA384).sign(
            message.encode(), rsa_key("one")
        )
    provider.token = f"{message}.{jwt.utils.base64url_encode(signature).decode()}"
    refused_for(await redeem(client, code, flow.verifier), 401, "provider_refused")


NO_TOKENS = ["", "a.b", "a.b.c", "é.b.c", "....", "e30.e30.e30", "a" * 99_999]


async def test_what_is_no_token_is_refused(client: Client, provider: Provider) -> None:
    for token in NO_TOKENS:
        provider.token = token
        await refuses(client, provider, token)


WRONG_HEADERS: list[dict[str, Any]] = [
    {"kid": "two"},
    {"typ": "at+jwt"},
    {"crit": ["b64"], "b64": False},
    {"kid": ""},
]


async def test_token_with_a_wrong_header_is_refused(client: Client, provider: Provider) -> None:
    for header in WRONG_HEADERS:
        provider.header = header
        await refuses(client, provider, header)


async def test_key_in_the_tokens_own_header_is_not_used(client: Client, provider: Provider) -> None:
    forger = SigningKey(rsa_key("forger"), kid=None)
    provider.signer = forger
    provider.header = {"jwk": forger.public(), "jku": f"{provider.issuer}/others"}
    await refuses(client, provider)
    assert provider.asked("/others") == 0


async def test_token_without_kid_is_accepted_while_one_key_fits(
    client: Client, provider: Provider
) -> None:
    provider.keys = [
        SigningKey(rsa_key("one"), kid=None),
        SigningKey(ec_key("two"), "ES256", kid="two"),
    ]
    assert (await sign_in(client, provider)).status == 200


async def test_token_without_kid_is_refused_while_several_keys_fit(
    client: Client, provider: Provider
) -> None:
    provider.keys = [SigningKey(rsa_key("one"), kid="one"), SigningKey(rsa_key("two"), kid="two")]
    provider.signer = SigningKey(rsa_key("one"), kid=None)
    await refuses(client, provider)


@pytest.mark.parametrize("extra", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "RS512"}])
async def test_key_that_is_not_for_such_signatures_is_not_used(
    client: Client, provider: Provider, extra: dict[str, Any]
) -> None:
    provider.keys = [
        SigningKey(rsa_key("one"), extra=extra),
        SigningKey(ec_key("two"), "ES256", kid="two"),
    ]
    await refuses(client, provider)


async def test_short_rsa_key_is_not_used(client: Client, provider: Provider) -> None:
    provider.keys = [
        SigningKey(rsa_key("short", 1024)),
        SigningKey(ec_key("two"), "ES256", kid="two"),
    ]
    await refuses(client, provider)


async def test_elliptic_curve_is_accepted_where_it_is_announced(
    client: Client, provider: Provider
) -> None:
    provider.keys = [SigningKey(ec_key("two"), "ES256")]
    assert (await sign_in(client, provider)).status == 200
    provider.metadata = {"id_token_signing_alg_values_supported": ["RS256"]}


async def test_userinfo_is_asked_for_an_address_and_must_be_of_the_same_person(
    client: Client, provider: Provider
) -> None:
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    provider.userinfo = {"sub": "eve", **VERIFIED}
    refused_for(await sign_in(client, provider, sub="ada"), 401, "provider_refused")
    provider.userinfo = {"sub": "ada", **VERIFIED}
    answer = await sign_in(client, provider, sub="ada")
    assert answer.json["user"]["email"] == "ada@example.com"


async def test_address_in_the_token_needs_no_userinfo(client: Client, provider: Provider) -> None:
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    assert (await sign_in(client, provider)).status == 200
    assert provider.asked("/userinfo") == 0


async def test_secret_goes_into_the_form_where_the_provider_takes_it_there_alone(
    client: Client, provider: Provider
) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await sign_in(client, provider)).status == 200
    token_request = next(one for one in provider.requests if one.path == "/token")
    assert "authorization" not in token_request.headers


NO_ANSWERS = [b"[]", b"null", b"{}", b'{"id_token": 7}', b'{"id_token": {"a": 1}}']


async def test_answer_without_a_token_is_refused(client: Client, provider: Provider) -> None:
    for body in NO_ANSWERS:
        provider.hooks["/token"] = raw(body)
        await refuses(client, provider, body)
