"""The Authorization header, read strictly, and forged tokens."""

import base64
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from service import clock
from service.ids import new_id
from service.testing.application import SECRET
from tests.support.client import Client, refused

INVALID = 'Bearer error="invalid_token", error_description="The token is invalid"'
EXPIRED = 'Bearer error="invalid_token", error_description="The token has expired"'


def part(value: object) -> str:
    """A value as a part of a JWT."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


class Forger:
    """Signs tokens with a real user's claims, so that each forgery is wrong in one thing alone."""

    def __init__(self, token: str) -> None:
        self._claims = jwt.decode(token, options={"verify_signature": False})
        self._header = jwt.get_unverified_header(token)

    def sign(
        self,
        key: str = SECRET,
        algorithm: str = "HS256",
        changes: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token with some claims changed; None leaves one out."""
        return jwt.encode(
            _without_none(self._claims | claims | (changes or {})), key, algorithm, self._header
        )

    def sign_header(self, **changes: Any) -> str:
        """A well signed token with some members of its header changed; None leaves one out."""
        header = _without_none(self._header | changes)
        return self._signed(f"{part(header)}.{part(self._claims)}")

    def reheaded(self, header: object) -> str:
        """A well signed token with another header."""
        return self._signed(f"{part(header)}.{part(self._claims)}")

    def _signed(self, text: str) -> str:
        digest = hmac.digest(SECRET.encode(), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@pytest.fixture(scope="session")
def forger(member: Client) -> Forger:
    assert member.token
    return Forger(member.token)


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
async def test_bearer_scheme_is_read_in_any_case_with_spaces(member: Client, scheme: str) -> None:
    assert (await me(member, f"{scheme}{member.token}")).status == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "bearer{}", "Bearer\t{}", "Basic {}", "Token {}", "{}", "Bearer:{}"],
)
async def test_other_scheme_than_bearer_is_no_token(member: Client, header: str) -> None:
    answer = await me(member, header.format(member.token))
    refused(answer, 401, "Authentication is required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x",
        "Bearer {} x",
        "Bearer {},",
        'Bearer "{}"',
        "Bearer ü",
        "Bearer {}=",
        "Bearer {}==",
        "Bearer {}!",
        "Bearer {};",
        "Bearer {}%",
        "Bearer {}.",
        "Bearer {}.x",
        "Bearer {}\t",
        "Bearer {}+",
        "Bearer {}/",
        "Bearer {}A",
        "Bearer {}AA",
        "Bearer {}AAAA",
        "Bearer .{}",
        "Bearer !{}",
        "Bearer {}\u00a0",
    ],
)
async def test_bearer_that_is_no_token_is_invalid(member: Client, header: str) -> None:
    answer = await me(member, header.format(member.token))
    refused(answer, 401, "The token is invalid")
    assert answer.headers["WWW-Authenticate"] == INVALID


@pytest.mark.parametrize("ending", ["=", "!", ";", "%00", "A", "AAAA", " x"])
async def test_refresh_token_with_characters_after_its_end_is_invalid(
    anyone: Client, ending: str
) -> None:
    caller = await anyone.sign_up()
    answer = await anyone.post("/auth/refresh", token=caller.refresh_token + ending)
    refused(answer, 401, "The token is invalid")


async def test_two_authorization_headers_are_refused(member: Client) -> None:
    pair = [("Authorization", f"Bearer {member.token}"), ("Authorization", "Bearer other")]
    sender: Any = member.app.test_client()
    answer = await sender.get("/auth/me", headers=Headers(pair))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == INVALID


async def test_token_signed_with_nothing_changed_is_taken(member: Client, forger: Forger) -> None:
    for token in (forger.sign(), forger.sign_header()):
        assert (await member.get("/auth/me", token=token)).status == 200


FORGERIES: dict[str, Callable[[Forger], str]] = {
    "another key": lambda f: f.sign(key="another secret that is long enough too"),
    "another algorithm": lambda f: f.sign(key=SECRET * 2, algorithm="HS512"),
    "another algorithm's name": lambda f: f.sign_header(alg="HS512"),
    "no algorithm": lambda f: f.sign_header(alg="none").rpartition(".")[0] + ".",
    "algorithm none, signed": lambda f: f.sign_header(alg="none"),
    "algorithm that is no text": lambda f: f.sign_header(alg=["HS256"]),
    "unknown algorithm": lambda f: f.sign_header(alg="XX256"),
    "header that is a list": lambda f: f.reheaded([]),
    "header that is null": lambda f: f.reheaded(None),
    "header that is no JSON": lambda f: f.reheaded("{"),
    "deeply nested header": lambda f: f.reheaded("[" * 5_000),
    "deeply nested member": lambda f: f.reheaded(
        '{"alg":"HS256","x":' + "[" * 5_000 + "]" * 5_000 + "}"
    ),
    "kid that is a number": lambda f: f.sign_header(kid=1),
    "critical extension": lambda f: f.sign_header(crit=["x"], x=1),
    "no kid": lambda f: f.sign_header(kid=None),
    "unknown kid": lambda f: f.sign_header(kid="x"),
    "no typ": lambda f: f.sign_header(typ=None),
    "typ of a plain JWT": lambda f: f.sign_header(typ="JWT"),
    "typ of a refresh token": lambda f: f.sign_header(typ="rt+jwt"),
    "header changed": lambda f: tampered(f.sign(), 0),
    "payload changed": lambda f: tampered(f.sign(), 1),
    "signature changed": lambda f: tampered(f.sign(), 2),
    "no signature": lambda f: f.sign().rpartition(".")[0] + ".",
    "two parts": lambda f: f.sign().rpartition(".")[0],
    "four parts": lambda f: f.sign() + ".x",
    "another issuer": lambda f: f.sign(iss="other"),
    "another audience": lambda f: f.sign(aud="other"),
    "issued in the future": lambda f: f.sign(iat=clock.now() + timedelta(hours=1)),
    "user that is no id": lambda f: f.sign(sub="ada"),
    "user in another form": lambda f: f.sign(sub=new_id().hex),
    "session that is no id": lambda f: f.sign(sid="x"),
    "token id that is no id": lambda f: f.sign(jti="x"),
    "end that is no number": lambda f: f.sign(exp="tomorrow"),
}
REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]


async def assert_invalid(client: Client, token: str) -> None:
    answer = await client.get("/auth/me", token=token)
    refused(answer, 401, "The token is invalid")
    assert answer.headers["WWW-Authenticate"] == INVALID


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_forged_token_is_invalid(
    anyone: Client, forger: Forger, forge: Callable[[Forger], str]
) -> None:
    await assert_invalid(anyone, forge(forger))


@pytest.mark.parametrize("claim", REQUIRED)
async def test_token_without_a_claim_is_invalid(anyone: Client, forger: Forger, claim: str) -> None:
    await assert_invalid(anyone, forger.sign(changes={claim: None}))


async def test_expired_token_is_distinguished_from_an_invalid_one(
    anyone: Client, forger: Forger
) -> None:
    token = forger.sign(exp=clock.now() - timedelta(seconds=1))
    answer = await anyone.get("/auth/me", token=token)
    refused(answer, 401, "The token has expired")
    assert answer.headers["WWW-Authenticate"] == EXPIRED


@pytest.mark.parametrize("path", ["/api/posts", "/health/live", "/nowhere"])
async def test_public_paths_ignore_the_token(anyone: Client, path: str) -> None:
    without = await anyone.get(path, token="")
    assert (await anyone.get(path, token="forged")).status == without.status


@settings(max_examples=60, deadline=None)
@given(token=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
async def test_arbitrary_token_never_causes_a_500(anyone: Client, token: str) -> None:
    refused(await anyone.get("/auth/me", token=token), 401, "The token is invalid")


@settings(max_examples=60, deadline=None)
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["alg", "typ", "kid"]), inner)
        ),
    )
)
async def test_arbitrary_authorization_header_never_causes_a_500(
    anyone: Client, forger: Forger, header: object
) -> None:
    refused(await anyone.get("/auth/me", token=forger.reheaded(header)), 401)
