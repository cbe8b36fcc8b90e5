"""The keys that sign access tokens: one HS256 secret, or the private keys in JWT_KEYS_DIR.

A key's type fixes its one algorithm, never a token. The file name without `.pem` is the `kid`. The
key that JWT_SIGNING_KEY names signs, or else the last in alphabetical order; all verify.
docs/operations.md has the steps of a rotation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import algorithms

from service.settings import Settings, SettingsError

SECRET_KEY_ID: Final = "secret"  # noqa: S105
MIN_RSA_BITS: Final = 2048  # RFC 7518, §3.3


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key and its one algorithm.

    `signing` and `verifying` are the same for HS256; `jwk` is the public part as a JSON Web Key
    (RFC 7517), or None for a secret.
    """

    kid: str
    algorithm: str
    signing: algorithms.AllowedPrivateKeys | str
    verifying: algorithms.AllowedPublicKeys | str
    jwk: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class KeySet:
    """The keys of access tokens by `kid`, and the one that signs."""

    signing: Key
    by_id: Mapping[str, Key]

    @property
    def public(self) -> Mapping[str, object]:
        """The JSON Web Key Set to publish, empty under HS256."""
        return {"keys": [key.jwk for key in self.by_id.values() if key.jwk is not None]}


def secret_key(settings: Settings) -> Key:
    """Return the HS256 key, which always signs refresh tokens."""
    return Key(SECRET_KEY_ID, "HS256", settings.jwt_secret, settings.jwt_secret)


def load_keys(settings: Settings) -> KeySet:
    """Return the keys of access tokens.

    Raises SettingsError naming JWT_KEYS_DIR and the file, or JWT_SIGNING_KEY.
    """
    if settings.jwt_keys_dir is None:
        if settings.jwt_signing_key is not None:
            raise SettingsError("JWT_SIGNING_KEY: needs the folder of keys, JWT_KEYS_DIR")
        key = secret_key(settings)
        return KeySet(key, {key.kid: key})
    files = sorted(settings.jwt_keys_dir.glob("*.pem"))
    if not files:
        raise SettingsError(f"JWT_KEYS_DIR: holds no *.pem file: {settings.jwt_keys_dir}")
    by_id = {file.stem: _read_key(file) for file in files}
    kid = files[-1].stem if settings.jwt_signing_key is None else settings.jwt_signing_key
    if kid not in by_id:
        kids = ", ".join(by_id)
        raise SettingsError(f"JWT_SIGNING_KEY: is none of the keys in JWT_KEYS_DIR: {kids}")
    return KeySet(by_id[kid], by_id)


def _read_key(file: Path) -> Key:
    try:
        private = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"JWT_KEYS_DIR: {error.strerror}: {file}") from None
    # TypeError: the key is encrypted.
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError(f"JWT_KEYS_DIR: is not an unencrypted private key: {file}") from None
    match private:
        case ed25519.Ed25519PrivateKey():
            algorithm, to_jwk = "EdDSA", partial(algorithms.OKPAlgorithm.to_jwk, as_dict=True)
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            algorithm, to_jwk = "ES256", partial(algorithms.ECAlgorithm.to_jwk, as_dict=True)
        case rsa.RSAPrivateKey() if private.key_size >= MIN_RSA_BITS:
            algorithm, to_jwk = "RS256", partial(algorithms.RSAAlgorithm.to_jwk, as_dict=True)
        case _:
            raise SettingsError(
                f"JWT_KEYS_DIR: is not an Ed25519, P-256 or RSA key of {MIN_RSA_BITS} bits: {file}"
            )
    public = private.public_key()
    # The public key alone, so that nothing private can be published.
    jwk = {**to_jwk(public), "kid": file.stem, "use": "sig", "alg": algorithm}
    jwk.pop("key_ops", None)  # not together with "use" (RFC 7517, §4.3)
    return Key(file.stem, algorithm, private, public, jwk)
