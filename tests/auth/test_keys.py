"""Keys and tokens: signing, rotation, the published set, and everything forged."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from service.app import create_app
from service.auth.tokens import Claims, ExpiredToken, InvalidToken, Tokens, TokenType
from service.ids import new_id
from service.settings import Settings, SettingsError
from service.testing.application import SECRET, make_settings
from service.testing.clock import Clock
from tests.support.client import Client

MAKERS: dict[str, Callable[[], Any]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
}
ALGORITHMS = sorted(MAKERS)


def write_key(folder: Path, name: str, key: Any) -> Any:
    """Write a private key as PEM, and give it back."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.pem").write_bytes(pem)
    return key


def signer(folder: Path | None = None, **values: object) -> Tokens:
    return Tokens(make_settings(jwt_keys_dir=folder, **values))


def claims(**changes: object) -> dict[str, Any]:
    """Claims that are good, but for the changes; None takes one away."""
    made = jwt.decode(
        signer().issue(TokenType.ACCESS, new_id(), new_id()), options={"verify_signature": False}
    )
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def sign(payload: Any, key: Any = SECRET, algorithm: str = "HS256", **header: object) -> str:
    """Sign by hand what PyJWT would refuse to."""
    headers = {"typ": "at+jwt", "kid": "secret", **header}
    headers = {name: value for name, value in headers.items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers)


def raw(header: object, payload: object, secret: bytes = SECRET.encode()) -> str:
    """A token of any JSON, signed with HMAC-SHA256 whatever it says."""
    parts = [json.dumps(each).encode() for each in (header, payload)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, signed, hashlib.sha256)
    return b".".join([signed, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_key_signs_with_one_algorithm_and_its_kid(tmp_path: Path, algorithm: str) -> None:
    write_key(tmp_path, "2026-01", MAKERS[algorithm]())
    tokens = signer(tmp_path)
    user_id, session_id = new_id(), new_id()
    token = tokens.issue(TokenType.ACCESS, user_id, session_id)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": algorithm, "typ": "at+jwt", "kid": "2026-01"}
    found = tokens.verify(TokenType.ACCESS, token)
    assert (found.user_id, found.session_id) == (user_id, session_id)


def test_last_key_file_signs_and_all_verify(tmp_path: Path) -> None:
    write_key(tmp_path, "a", MAKERS["RS256"]())
    old = signer(tmp_path).issue(TokenType.ACCESS, new_id(), new_id())
    write_key(tmp_path, "b", MAKERS["EdDSA"]())
    (tmp_path / "c.txt").write_text("not a key")
    tokens = signer(tmp_path)
    assert isinstance(tokens.verify(TokenType.ACCESS, old), Claims)
    new = tokens.issue(TokenType.ACCESS, new_id(), new_id())
    assert jwt.get_unverified_header(new)["kid"] == "b"
    (tmp_path / "a.pem").unlink()
    with pytest.raises(InvalidToken):
        signer(tmp_path).verify(TokenType.ACCESS, old)


def test_refresh_tokens_outlive_every_change_of_keys(tmp_path: Path) -> None:
    token = signer().issue(TokenType.REFRESH, new_id(), new_id())
    assert isinstance(signer().verify(TokenType.REFRESH, token), Claims)
    write_key(tmp_path, "a", MAKERS["EdDSA"]())
    assert isinstance(signer(tmp_path).verify(TokenType.REFRESH, token), Claims)


def test_refresh_token_is_rebuilt_to_the_byte(tmp_path: Path, clock: Clock) -> None:
    write_key(tmp_path, "a", MAKERS["ES256"]())
    now = clock.now()
    parts = {"token_id": uuid4(), "issued_at": now, "expires_at": now + timedelta(days=3)}
    user_id, session_id = uuid4(), uuid4()
    made = {
        signer(folder).issue(TokenType.REFRESH, user_id, session_id, **parts)  # type: ignore[arg-type]
        for folder in (None, tmp_path, tmp_path)
    }
    assert len(made) == 1


def test_expired_access_token_is_distinguished_from_an_invalid_one(clock: Clock) -> None:
    tokens = signer()
    token = tokens.issue(TokenType.ACCESS, new_id(), new_id())
    clock.advance(3_601)
    with pytest.raises(ExpiredToken):
        tokens.verify(TokenType.ACCESS, token)
    with pytest.raises(InvalidToken) as caught:
        tokens.verify(TokenType.ACCESS, token[:-20] + "A" * 20)
    assert caught.type is InvalidToken


def without(name: str) -> str:
    return sign(claims(**{name: None}))


FORGED: dict[str, Callable[[], str]] = {
    "alg none": lambda: sign(claims(), None, "none"),
    "other secret": lambda: sign(claims(), "another secret that is quite long enough"),
    "other algorithm": lambda: sign(claims(), algorithm="HS384"),
    "no kid": lambda: sign(claims(), kid=None),
    "foreign kid": lambda: sign(claims(), kid="../../etc/passwd"),
    "kid is no text": lambda: raw({"alg": "HS256", "typ": "at+jwt", "kid": ["secret"]}, claims()),
    "no typ": lambda: raw({"alg": "HS256", "kid": "secret"}, claims()),
    "typ JWT": lambda: sign(claims(), typ="JWT"),
    "typ refresh": lambda: sign(claims(), typ="rt+jwt"),
    "typ is no text": lambda: raw({"alg": "HS256", "typ": {}, "kid": "secret"}, claims()),
    "header is a list": lambda: raw(["HS256"], claims()),
    "header is nested": lambda: raw(json.loads("[" * 500 + "]" * 500), claims()),
    "payload is a list": lambda: raw({"alg": "HS256", "typ": "at+jwt", "kid": "secret"}, [1]),
    "critical extension": lambda: sign(claims(), crit=["b64"], b64=False),
    **{
        f"no {name}": partial(without, name)
        for name in ("iss", "aud", "sub", "sid", "jti", "iat", "exp")
    },
    "other issuer": lambda: sign(claims(iss="other")),
    "other audience": lambda: sign(claims(aud="other")),
    "audience is a number": lambda: sign(claims(aud=1)),
    "sub is a number": lambda: raw(
        {"alg": "HS256", "typ": "at+jwt", "kid": "secret"}, claims(sub=1)
    ),
    "sub is no id": lambda: sign(claims(sub="me")),
    "sid is an object": lambda: sign(claims(sid={"$ne": 1})),
    "jti with NUL": lambda: sign(claims(jti="\0")),
    "exp is text": lambda: raw(
        {"alg": "HS256", "typ": "at+jwt", "kid": "secret"}, claims(exp="never")
    ),
    "exp is infinite": lambda: raw(
        {"alg": "HS256", "typ": "at+jwt", "kid": "secret"}, claims(exp=float("inf"))
    ),
    "exp is true": lambda: raw(
        {"alg": "HS256", "typ": "at+jwt", "kid": "secret"}, claims(exp=True)
    ),
    "made in the future": lambda: sign(claims(iat=99_999_999_999, exp=99_999_999_999)),
    "not yet valid": lambda: sign(claims(nbf=99_999_999_999)),
    "no token": lambda: "token",
    "two dots": lambda: "..",
    "four parts": lambda: sign(claims()) + ".x",
    "not ASCII": lambda: "å.é.ü",
    "empty signature": lambda: sign(claims()).rpartition(".")[0] + ".",
}


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED)
def test_forged_token_fails_verification(make: Callable[[], str]) -> None:
    with pytest.raises(InvalidToken):
        signer().verify(TokenType.ACCESS, make())


async def test_forged_token_is_401_never_500(client: Client) -> None:
    for name, make in FORGED.items():
        answer = await client.get("/auth/me", token=make())
        assert answer.status == 401, name
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"], name
        assert (await client.get("/api/posts", token=make())).status == 200, name


def test_forged_tokens_differ_from_good_ones_only_by_what_they_forge() -> None:
    good = sign(claims())
    assert isinstance(signer().verify(TokenType.ACCESS, good), Claims)
    header = {"alg": "HS256", "typ": "at+jwt", "kid": "secret"}
    assert isinstance(signer().verify(TokenType.ACCESS, raw(header, claims())), Claims)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_key_is_not_taken_as_an_hs256_secret(tmp_path: Path, algorithm: str) -> None:
    public = write_key(tmp_path, "a", MAKERS[algorithm]()).public_key()
    tokens = signer(tmp_path)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for alg in ("HS256", algorithm, "none"):
        forged = raw({"alg": alg, "typ": "at+jwt", "kid": "a"}, claims(), pem)
        with pytest.raises(InvalidToken):
            tokens.verify(TokenType.ACCESS, forged)


def test_secret_signs_no_access_tokens_beside_keys(tmp_path: Path) -> None:
    write_key(tmp_path, "a", MAKERS["EdDSA"]())
    for kid in ("secret", "a"):
        with pytest.raises(InvalidToken):
            signer(tmp_path).verify(TokenType.ACCESS, sign(claims(), kid=kid))
    # Nor a key of access tokens a refresh token, whatever the file is called.
    key = write_key(tmp_path, "secret", MAKERS["EdDSA"]())
    forged = sign(claims(), key, "EdDSA", typ="rt+jwt")
    with pytest.raises(InvalidToken):
        signer(tmp_path).verify(TokenType.REFRESH, forged)


async def test_published_key_set_is_empty_under_a_secret(client: Client) -> None:
    answer = await client.get("/.well-known/jwks.json")
    assert answer.status == 200
    assert answer.json == {"keys": []}
    assert answer.headers["Cache-Control"] == "public, max-age=300"


async def test_published_keys_verify_access_tokens(settings: Settings, tmp_path: Path) -> None:
    for number, algorithm in enumerate(ALGORITHMS):
        write_key(tmp_path, f"key{number}", MAKERS[algorithm]())
    app = create_app(settings.model_copy(update={"jwt_keys_dir": tmp_path}))
    async with app.test_app():
        one = await Client(app).sign_up()
        answer = await one.get("/.well-known/jwks.json")
        assert (await one.get("/auth/me")).status == 200
        assert (await one.post("/auth/refresh", token=one.refresh_token)).status == 200
    published = jwt.PyJWKSet.from_dict(answer.json)
    assert [key.key_id for key in published.keys] == ["key0", "key1", "key2"]
    assert {key["alg"] for key in answer.json["keys"]} == set(ALGORITHMS)
    # RFC 8037, §2; RFC 7518, §6.2.2 and §6.3.2: the private members.
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & {
        member for key in answer.json["keys"] for member in key
    }
    assert one.token is not None
    header = jwt.get_unverified_header(one.token)
    verified = jwt.decode(
        one.token, published[header["kid"]], [header["alg"]], audience="service", issuer="service"
    )
    assert verified["sub"] == one.user["id"]


def _encrypted() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


def _public() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _pem(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


WRONG_FILES = {
    "empty": lambda: b"",
    "text": lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "encrypted": _encrypted,
    "public": _public,
    "short RSA": lambda: _pem(rsa.generate_private_key(65537, 1024)),
    "other curve": lambda: _pem(ec.generate_private_key(ec.SECP384R1())),
}


@pytest.mark.parametrize("make", WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_key_file_is_named_in_the_error(tmp_path: Path, make: Callable[[], bytes]) -> None:
    write_key(tmp_path, "a", MAKERS["EdDSA"]())
    (tmp_path / "broken.pem").write_bytes(make())
    with pytest.raises(SettingsError, match=r"JWT_KEYS_DIR: .*broken\.pem"):
        signer(tmp_path)


def test_folder_without_keys_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="JWT_KEYS_DIR"):
        signer(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        signer(tmp_path / "missing")
