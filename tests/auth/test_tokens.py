"""The tokens' own words."""

from datetime import timedelta
from typing import Any

import jwt
import pytest

from service import clock
from service.auth.tokens import REQUIRED_CLAIMS, ExpiredToken, InvalidToken, Tokens, TokenType
from service.ids import new_id
from service.testing.application import SECRET, make_settings
from service.testing.clock import Clock
from tests.support.client import Client


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(make_settings())


def decode(token: str, audience: str = "service") -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, SECRET, ["HS256"], audience=audience)
    return found


@pytest.mark.parametrize("kind", TokenType)
def test_token_holds_what_it_was_issued_for(tokens: Tokens, kind: TokenType) -> None:
    user_id, session_id = new_id(), new_id()
    claims = tokens.verify(kind, tokens.issue(kind, user_id, session_id))
    assert (claims.user_id, claims.session_id) == (user_id, session_id)


def test_access_token_s_header_and_claims(tokens: Tokens) -> None:
    token = tokens.issue(TokenType.ACCESS, new_id(), new_id())
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert "kid" in jwt.get_unverified_header(token)
    assert set(decode(token)) == {*REQUIRED_CLAIMS, "client_id"}


@pytest.mark.parametrize("audience", ["service", "https://api.example.com"])
def test_access_token_has_the_claims_that_rfc_9068_requires(audience: str) -> None:
    token = Tokens(make_settings(jwt_audience=audience)).issue(TokenType.ACCESS, new_id(), new_id())
    claims = decode(token, audience)
    assert set(claims) >= {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}
    assert claims["client_id"] == claims["aud"] == audience


def test_refresh_token_keeps_its_claims_and_so_its_bytes(tokens: Tokens) -> None:
    token = tokens.issue(TokenType.REFRESH, new_id(), new_id())
    assert set(decode(token)) == set(REQUIRED_CLAIMS)


def test_access_token_without_client_id_stays_valid(tokens: Tokens) -> None:
    token = tokens.issue(TokenType.ACCESS, new_id(), new_id())
    claims = {name: value for name, value in decode(token).items() if name != "client_id"}
    older = jwt.encode(claims, SECRET, "HS256", jwt.get_unverified_header(token))
    assert tokens.verify(TokenType.ACCESS, older) == tokens.verify(TokenType.ACCESS, token)


@pytest.mark.parametrize(("kind", "seconds"), [("ACCESS", 3600), ("REFRESH", 30 * 86400)])
def test_token_lives_as_long_as_its_setting(tokens: Tokens, kind: str, seconds: int) -> None:
    claims = decode(tokens.issue(TokenType[kind], new_id(), new_id()))
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == seconds


def test_every_token_has_an_id_of_its_own(tokens: Tokens) -> None:
    user_id, session_id = new_id(), new_id()
    issued = {tokens.issue(TokenType.ACCESS, user_id, session_id) for _ in range(20)}
    assert len({decode(token)["jti"] for token in issued}) == 20


@pytest.mark.parametrize("kind", TokenType)
def test_access_and_refresh_tokens_are_not_interchangeable(tokens: Tokens, kind: TokenType) -> None:
    (other,) = set(TokenType) - {kind}
    with pytest.raises(InvalidToken) as caught:
        tokens.verify(other, tokens.issue(kind, new_id(), new_id()))
    assert not isinstance(caught.value, ExpiredToken)


def test_another_service_s_token_is_invalid(tokens: Tokens) -> None:
    other = Tokens(make_settings(jwt_issuer="other"))
    with pytest.raises(InvalidToken):
        tokens.verify(TokenType.ACCESS, other.issue(TokenType.ACCESS, new_id(), new_id()))


def test_cached_token_expires_all_the_same(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.issue(TokenType.ACCESS, new_id(), new_id())
    assert tokens.verify(TokenType.ACCESS, token) == tokens.verify(TokenType.ACCESS, token)
    later = clock.now() + tokens.life[TokenType.ACCESS]
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(ExpiredToken):
        tokens.verify(TokenType.ACCESS, token)


@pytest.mark.parametrize("kind", TokenType)
@pytest.mark.parametrize(("ahead", "valid"), [(6, True), (60, True), (62, False), (3600, False)])
def test_token_of_a_clock_up_to_a_minute_ahead_is_valid(
    tokens: Tokens, kind: TokenType, ahead: int, valid: bool
) -> None:
    issued_at = clock.now() + timedelta(seconds=ahead)
    token = tokens.issue(kind, new_id(), new_id(), issued_at=issued_at)
    if valid:
        assert tokens.verify(kind, token) == tokens.verify(kind, token)
    else:
        with pytest.raises(InvalidToken):
            tokens.verify(kind, token)


async def test_login_at_a_replica_a_minute_ahead_works_at_the_others(
    client: Client, clock: Clock
) -> None:
    clock.advance(60)
    ada = await client.sign_up()
    clock.advance(-60)
    assert (await ada.get("/auth/me")).status == 200
    assert (await ada.post("/auth/refresh", token=ada.refresh_token)).status == 200


def test_cached_token_is_not_taken_for_the_other_kind(tokens: Tokens) -> None:
    token = tokens.issue(TokenType.ACCESS, new_id(), new_id())
    tokens.verify(TokenType.ACCESS, token)
    with pytest.raises(InvalidToken):
        tokens.verify(TokenType.REFRESH, token)
    with pytest.raises(InvalidToken):
        tokens.verify(TokenType.ACCESS, token[:-20] + "A" * 20)


def test_cache_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = 0
    decode = jwt.decode

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal verified
        verified += 1
        return decode(*args, **options)

    monkeypatch.setattr("service.auth.tokens.CACHED_TOKENS", 2)
    tokens = Tokens(make_settings())
    issued = [tokens.issue(TokenType.ACCESS, new_id(), new_id()) for _ in range(3)]
    monkeypatch.setattr(jwt, "decode", counted)
    for token in (*issued, issued[2], issued[1], issued[0]):
        tokens.verify(TokenType.ACCESS, token)
    assert verified == 4  # the first one was forgotten
