"""An authenticator in software: what browsers and their keys do with WebAuthn's options."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Literal

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

ORIGIN = "http://localhost:8000"
UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40

Json = dict[str, Any]


def encode(value: bytes) -> str:
    """Bytes as base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Credential:
    """A key pair that an authenticator keeps for one account of one relying party."""

    id: bytes
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    rp_id: str
    user_handle: bytes
    sign_count: int = 0

    @property
    def cose(self) -> bytes:
        """The public key as COSE_Key."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            x = self.key.public_key().public_bytes_raw()
            return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: x})
        numbers = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})

    def sign(self, data: bytes) -> bytes:
        """A signature by the private key."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass
class SoftwareAuthenticator:
    """Makes and shows credentials, by default as a platform's that verifies its user."""

    algorithm: Literal["ES256", "EdDSA"] = "EdDSA"
    origin: str = ORIGIN
    verifies_user: bool = True
    synced: bool = False
    counts: bool = True
    aaguid: bytes = bytes(16)
    credentials: list[Credential] = field(default_factory=list)

    def create(self, options: Json, /, **client_data: Any) -> Json:
        """A new credential for the options of a registration, as `toJSON()` gives it."""
        public_key = options["publicKey"]
        key: Any
        if self.algorithm == "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        handle = decode(public_key["user"]["id"])
        credential = Credential(secrets.token_bytes(32), key, public_key["rp"]["id"], handle)
        self.credentials.append(credential)
        return self.attest(credential, public_key["challenge"], **client_data)

    def attest(self, credential: Credential, challenge: str, /, **client_data: Any) -> Json:
        """The registration of a credential."""
        length = len(credential.id).to_bytes(2, "big")
        attested = self.aaguid + length + credential.id + credential.cose
        auth_data = self.auth_data(credential, AT) + attested
        statement = {"fmt": "none", "attStmt": {}, "authData": auth_data}
        data = self._client_data("webauthn.create", challenge, client_data)
        return {
            "id": encode(credential.id),
            "rawId": encode(credential.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encode(data),
                "attestationObject": encode(cbor2.dumps(statement)),
                "transports": ["internal"],
            },
        }

    def get(self, options: Json, /, **client_data: Any) -> Json:
        """A credential that is shown for options, the last made of those allowed."""
        public_key = options["publicKey"]
        allowed = [decode(one["id"]) for one in public_key.get("allowCredentials", [])]
        credential = next(
            one
            for one in reversed(self.credentials)
            if one.rp_id == public_key["rpId"] and (not allowed or one.id in allowed)
        )
        return self.show(credential, public_key["challenge"], **client_data)

    def show(self, credential: Credential, challenge: str, /, **client_data: Any) -> Json:
        """A credential that answers a challenge."""
        if self.counts:
            credential.sign_count += 1
        auth_data = self.auth_data(credential)
        data = self._client_data("webauthn.get", challenge, client_data)
        signature = credential.sign(auth_data + hashlib.sha256(data).digest())
        return {
            "id": encode(credential.id),
            "rawId": encode(credential.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encode(data),
                "authenticatorData": encode(auth_data),
                "signature": encode(signature),
                "userHandle": encode(credential.user_handle),
            },
        }

    def auth_data(self, credential: Credential, more: int = 0) -> bytes:
        """What the authenticator says of itself and of the credential, up to the counter."""
        flags = UP | more | (UV if self.verifies_user else 0) | (BE | BS if self.synced else 0)
        rp_id_hash = hashlib.sha256(credential.rp_id.encode()).digest()
        return rp_id_hash + bytes([flags]) + credential.sign_count.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: str, more: Json) -> bytes:
        data = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps({**data, **more}).encode()
