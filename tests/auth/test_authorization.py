"""The Authorization header, read strictly, and forged tokens."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from service import clock
from tests.client import Client, refused
from tests.conftest import SECRET

INVALID = 'Bearer error="invalid_token", error_description="The token is invalid"'
EXPIRED = 'Bearer error="invalid_token", error_description="The token has expired"'


def access_claims(**changes: Any) -> dict[str, Any]:
    """The claims of an access token that would be taken; a change to None leaves one out."""
    now = clock.now()
    claims = {
        "iss": "service",
        "aud": "service",
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "jti": str(uuid4()),
        "iat": now - timedelta(seconds=60),
        "exp": now + timedelta(hours=1),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def sign(key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    headers = {"typ": "at+jwt", "kid": "secret"}
    return jwt.encode(access_claims(**claims), key, algorithm, headers)


def part(value: object) -> str:
    """A value as a part of a JWT."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def reheaded(header: object) -> str:
    """A well signed token, its header replaced."""
    _, payload, signature = sign().split(".")
    return f"{part(header)}.{payload}.{signature}"


def tampered(token: str, index: int) -> str:
    """A token with one character changed in the middle of one of its parts."""
    parts = token.split(".")
    middle = len(parts[index]) // 2
    other = "A" if parts[index][middle] != "A" else "B"
    parts[index] = parts[index][:middle] + other + parts[index][middle + 1 :]
    return ".".join(parts)


async def me(client: Client, authorization: str) -> Any:
    return await client.get("/auth/me", token="", headers={"Authorization": authorization})


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", "bEaReR     "])
async def test_scheme_is_read_in_any_case_with_spaces(member: Client, scheme: str) -> None:
    assert (await me(member, f"{scheme}{member.token}")).status == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "bearer{}", "Bearer\t{}", "Basic {}", "Token {}", "{}", "Bearer:{}"],
)
async def test_what_is_no_bearer_is_no_token(member: Client, header: str) -> None:
    answer = await me(member, header.format(member.token))
    refused(answer, 401, "Authentication is required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer x", "Bearer {} x", "Bearer {},", 'Bearer "{}"', "Bearer ü"])
async def test_bearer_that_is_no_token_is_invalid(member: Client, header: str) -> None:
    answer = await me(member, header.format(member.token))
    refused(answer, 401, "The token is invalid")
    assert answer.headers["WWW-Authenticate"] == INVALID


async def test_two_authorization_headers_are_refused(member: Client) -> None:
    pair = [("Authorization", f"Bearer {member.token}"), ("Authorization", "Bearer other")]
    answer = await member._client.open("/auth/me", headers=Headers(pair))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == INVALID


async def test_signed_claims_alone_are_read(anyone: Client) -> None:
    """A token that is right in all but its user: the forgeries below differ in one thing each."""
    answer = await anyone.get("/api/posts", token=sign())
    assert answer.status == 200


FORGERIES = {
    "another key": sign(key="another secret that is long enough too"),
    "another algorithm": sign(key=SECRET * 2, algorithm="HS512"),
    "another algorithm's name": reheaded({"alg": "HS512", "typ": "at+jwt", "kid": "secret"}),
    "no algorithm": f"{part({'alg': 'none', 'typ': 'at+jwt', 'kid': 'secret'})}.{part({})}.",
    "algorithm that is no text": reheaded({"alg": ["HS256"], "typ": "at+jwt", "kid": "secret"}),
    "unknown algorithm": reheaded({"alg": "XX256", "typ": "at+jwt", "kid": "secret"}),
    "header that is a list": reheaded([]),
    "header that is null": reheaded(None),
    "header that is no JSON": reheaded("{"),
    "deeply nested header": reheaded("[" * 5_000),
    "deeply nested member": reheaded('{"alg":"HS256","x":' + "[" * 5_000 + "]" * 5_000 + "}"),
    "kid that is a number": reheaded({"alg": "HS256", "typ": "at+jwt", "kid": 1}),
    "critical extension": reheaded({"alg": "HS256", "typ": "at+jwt", "crit": ["x"], "x": 1}),
    "no kid": jwt.encode(access_claims(), SECRET, "HS256", {"typ": "at+jwt"}),
    "unknown kid": jwt.encode(access_claims(), SECRET, "HS256", {"typ": "at+jwt", "kid": "x"}),
    "typ of a plain JWT": jwt.encode(access_claims(), SECRET, "HS256", {"kid": "secret"}),
    "header changed": tampered(sign(), 0),
    "payload changed": tampered(sign(), 1),
    "signature changed": tampered(sign(), 2),
    "no signature": sign().rpartition(".")[0] + ".",
    "two parts": sign().rpartition(".")[0],
    "four parts": sign() + ".x",
    "another issuer": sign(iss="other"),
    "another audience": sign(aud="other"),
    "issued in the future": sign(iat=clock.now() + timedelta(hours=1)),
    "user that is no id": sign(sub="ada"),
    "user in another form": sign(sub=uuid4().hex),
    "session that is no id": sign(sid="x"),
    "token id that is no id": sign(jti="x"),
    "end that is no number": sign(exp="tomorrow"),
    **{
        f"no {name}": sign(**{name: None})
        for name in ("iss", "aud", "sub", "sid", "jti", "iat", "exp")
    },
}


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
async def test_forged_token_is_invalid(anyone: Client, token: str) -> None:
    answer = await anyone.get("/auth/me", token=token)
    refused(answer, 401, "The token is invalid")
    assert answer.headers["WWW-Authenticate"] == INVALID


async def test_expired_token_is_told_from_an_invalid_one(anyone: Client) -> None:
    answer = await anyone.get("/auth/me", token=sign(exp=clock.now() - timedelta(seconds=1)))
    refused(answer, 401, "The token has expired")
    assert answer.headers["WWW-Authenticate"] == EXPIRED


async def test_token_of_an_unknown_user_is_invalid(anyone: Client) -> None:
    answer = await anyone.get("/auth/me", token=sign())
    refused(answer, 401)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/api/posts", "/health/live", "/nowhere"])
async def test_open_paths_do_not_look_at_the_token(anyone: Client, path: str) -> None:
    without = await anyone.get(path, token="")
    assert (await anyone.get(path, token="forged")).status == without.status


@settings(max_examples=60, deadline=None)
@given(token=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
async def test_no_token_is_a_server_s_failure(anyone: Client, token: str) -> None:
    refused(await anyone.get("/auth/me", token=token), 401, "The token is invalid")


@settings(max_examples=60, deadline=None)
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["alg", "typ", "kid"]), inner),
    )
)
async def test_no_header_is_a_server_s_failure(anyone: Client, header: object) -> None:
    refused(await anyone.get("/auth/me", token=reheaded(header)), 401)
