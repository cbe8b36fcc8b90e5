"""The bodies of requests and responses for passkeys."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from service.auth.passkeys.credentials import (
    ASSERTION_EXAMPLE,
    REGISTRATION_EXAMPLE,
    NewPasskey,
    ShownPasskey,
)
from service.auth.passkeys.models import NAME_MAX
from service.web.fields import NonBlank, Text
from service.web.openapi import example

Kind = Literal["passkey", "security_key"]
Name = Annotated[NonBlank, Field(min_length=1, max_length=NAME_MAX)]

_DESCRIPTOR: Final = {"type": "public-key", "id": "KEDetxZcUfinhVi6Za5nZQ"}
_PASSKEY: Final = {
    "id": "019ab2f6-2f10-7a64-8b3c-7d1e5f9a2c48", "name": "iCloud Keychain", "kind": "passkey",
    "created_at": "2026-11-22T10:00:00.123456Z", "last_used_at": None, "synced": True,
    "rp_id": "example.com",
}  # fmt: skip
_CHALLENGE: Final = "A2kqv1TzK8yRk0pJ3Qx5b0l3dWVyMTIzNDU2Nzg5MDE"
_CREATION: Final = {
    "rp": {"id": "example.com", "name": "example.com"},
    "user": {
        "id": "AZqy9G0cfz6KUgydTnsfYA", "name": "ada@example.com", "displayName": "ada",
    },
    "challenge": _CHALLENGE, "pubKeyCredParams": [{"type": "public-key", "alg": -8}],
    "timeout": 600_000, "excludeCredentials": [_DESCRIPTOR],
    "authenticatorSelection": {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required",
    },
    "attestation": "none",
}  # fmt: skip
_REQUEST: Final = {
    "challenge": _CHALLENGE, "timeout": 600_000, "rpId": "example.com",
    "userVerification": "required",
}  # fmt: skip


class PasskeyOptionsIn(BaseModel):
    """Which kind of passkey to add: one that signs in alone, or a second factor only."""

    model_config = example({"kind": "passkey"})

    # No default in the schema, for which clients would take the member for required.
    kind: Kind = Field(default_factory=lambda: "passkey")


class PasskeyIn(BaseModel):
    """A new credential, and a name for it; by default its provider's."""

    model_config = example({"credential": REGISTRATION_EXAMPLE, "name": "My phone"})

    credential: NewPasskey
    name: Name | None = None


class WaitingLoginIn(BaseModel):
    """The token of a login that waits for its second factor."""

    model_config = example({"login_token": "q7vAqkTl3T5mYb0yqk6Hc1t4nKf8Ww2sJ9dXzRvLpUE"})

    login_token: Annotated[Text, Field(min_length=1, max_length=1024)]


class PasskeyName(BaseModel):
    """A passkey's new name."""

    model_config = example({"name": "My phone"})

    name: Name


class PasskeyLogin(BaseModel):
    """A passkey that signs in alone."""

    model_config = example({"credential": ASSERTION_EXAMPLE})

    credential: ShownPasskey


class PasskeyOut(BaseModel):
    """A passkey; a `synced` one may be on several devices."""

    model_config = example(_PASSKEY)

    id: UUID
    name: str
    kind: Kind
    created_at: datetime
    last_used_at: datetime | None
    synced: bool
    rp_id: str


class PasskeysOut(BaseModel):
    """An account's passkeys, newest first."""

    model_config = example({"passkeys": [_PASSKEY]})

    passkeys: list[PasskeyOut]


class RelyingPartyOut(BaseModel):
    """The service, as authenticators know it."""

    model_config = example(_CREATION["rp"])  # type: ignore[arg-type]

    id: str
    name: str


class PasskeyUserOut(BaseModel):
    """The account, as authenticators know it; `id` is its 16 bytes."""

    model_config = example(_CREATION["user"])  # type: ignore[arg-type]

    id: str
    name: str
    displayName: str  # noqa: N815 - WebAuthn's name


class Algorithm(BaseModel):
    """An algorithm of public keys (COSE)."""

    model_config = example({"type": "public-key", "alg": -8})

    type: Literal["public-key"]
    alg: int


class Descriptor(BaseModel):
    """A credential by its id."""

    model_config = example(_DESCRIPTOR)

    type: Literal["public-key"]
    id: str


class AuthenticatorSelection(BaseModel):
    """What the authenticator must be able to do."""

    model_config = example(_CREATION["authenticatorSelection"])  # type: ignore[arg-type]

    residentKey: str  # noqa: N815
    requireResidentKey: bool  # noqa: N815
    userVerification: str  # noqa: N815


class CreationOptions(BaseModel):
    """What `PublicKeyCredential.parseCreationOptionsFromJSON()` takes."""

    model_config = example(_CREATION)

    rp: RelyingPartyOut
    user: PasskeyUserOut
    challenge: str
    pubKeyCredParams: list[Algorithm]  # noqa: N815
    timeout: int
    excludeCredentials: list[Descriptor]  # noqa: N815
    authenticatorSelection: AuthenticatorSelection  # noqa: N815
    attestation: Literal["none"]


class CreationOptionsOut(BaseModel):
    """Options for a new passkey, good for `expires_in` seconds."""

    model_config = example({"publicKey": _CREATION, "expires_in": 600})

    publicKey: CreationOptions  # noqa: N815
    expires_in: int


class RequestOptions(BaseModel):
    """What `PublicKeyCredential.parseRequestOptionsFromJSON()` takes, for any passkey."""

    model_config = example(_REQUEST)

    challenge: str
    timeout: int
    rpId: str  # noqa: N815
    userVerification: str  # noqa: N815


class RequestOptionsOut(BaseModel):
    """Options for showing any passkey, good for `expires_in` seconds."""

    model_config = example({"publicKey": _REQUEST, "expires_in": 600})

    publicKey: RequestOptions  # noqa: N815
    expires_in: int


class OwnRequestOptions(RequestOptions):
    """What `PublicKeyCredential.parseRequestOptionsFromJSON()` takes, for an account's passkeys."""

    model_config = example({**_REQUEST, "allowCredentials": [_DESCRIPTOR]})

    allowCredentials: list[Descriptor]  # noqa: N815


class OwnRequestOptionsOut(BaseModel):
    """Options for showing one of an account's passkeys, good for `expires_in` seconds."""

    model_config = example(
        {"publicKey": {**_REQUEST, "allowCredentials": [_DESCRIPTOR]}, "expires_in": 600}
    )

    publicKey: OwnRequestOptions  # noqa: N815
    expires_in: int


class RelatedOriginsOut(BaseModel):
    """The origins outside the domain that may use its passkeys (WebAuthn, level 3, §5.11)."""

    model_config = example({"origins": ["https://example.net"]})

    origins: list[str]
