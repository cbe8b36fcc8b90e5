"""The credentials of WebAuthn's JSON (level 3, §5.1), as clients send them."""

import json
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from service.auth.passkeys.base64url import from_base64url, to_base64url
from service.web.openapi import SchemaKeyword, example

CREDENTIAL_MAX: Final = 16_384  # bytes of JSON
KIB: Final = 1024

_ID_EXAMPLE: Final = "KEDetxZcUfinhVi6Za5nZQ"
_CLIENT_DATA: Final = (
    b'{"type":"webauthn.%s","challenge":"0f1e2d3c","origin":"https://app.example.com"}'
)
REGISTRATION_EXAMPLE: Final = {
    "id": _ID_EXAMPLE, "rawId": _ID_EXAMPLE, "type": "public-key",
    "response": {
        "clientDataJSON": to_base64url(_CLIENT_DATA % b"create"), "attestationObject": "o2NmbXRk",
    },
}  # fmt: skip
ASSERTION_EXAMPLE: Final = {
    "id": _ID_EXAMPLE, "rawId": _ID_EXAMPLE, "type": "public-key",
    "response": {
        "clientDataJSON": to_base64url(_CLIENT_DATA % b"get"), "authenticatorData": "SZYN5YgO",
        "signature": "MEUCIQDg", "userHandle": "AZqy9G0cfz6KUgydTnsfYA",
    },
}  # fmt: skip


# No bytes have a length that is 1 more than a multiple of 4.
_FORM: Final = "([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2,3}|[A-Za-z0-9_-]{4})"


def _check_form(text: str) -> str:
    if re.fullmatch(_FORM, text) is None:
        raise ValueError("must be base64url without padding")
    return text


def _check_size(value: object) -> object:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if len(text.encode(errors="surrogatepass")) > CREDENTIAL_MAX:
        raise ValueError(f"must have at most {CREDENTIAL_MAX // KIB} KiB")
    return value


_Base64Url = Annotated[str, AfterValidator(_check_form), SchemaKeyword("pattern", f"^{_FORM}$")]
# Together they are less than CREDENTIAL_MAX. An id has 1,023 bytes at most (WebAuthn, §4).
CredentialId = Annotated[_Base64Url, Field(max_length=1_364)]
ClientData = Annotated[_Base64Url, Field(max_length=2_048)]
Attestation = Annotated[_Base64Url, Field(max_length=11_264)]
Signed = Annotated[_Base64Url, Field(max_length=4_096)]
UserHandle = Annotated[_Base64Url, Field(max_length=86)]


class AttestationResponse(BaseModel):
    """What an authenticator says of a new credential; its attestation is not looked at."""

    model_config = example(REGISTRATION_EXAMPLE["response"])  # type: ignore[arg-type]

    clientDataJSON: ClientData  # noqa: N815 - WebAuthn's name
    attestationObject: Attestation  # noqa: N815


class RegistrationCredential(BaseModel):
    """A new credential: `toJSON()` of what `navigator.credentials.create()` returns."""

    model_config = example(REGISTRATION_EXAMPLE)

    id: CredentialId
    rawId: CredentialId  # noqa: N815
    type: Literal["public-key"]
    response: AttestationResponse


class AssertionResponse(BaseModel):
    """What an authenticator signs to show that it holds a credential."""

    model_config = example(ASSERTION_EXAMPLE["response"])  # type: ignore[arg-type]

    clientDataJSON: ClientData  # noqa: N815
    authenticatorData: Signed  # noqa: N815
    signature: Signed
    userHandle: UserHandle | None = None  # noqa: N815


class AssertionCredential(BaseModel):
    """A credential that is shown: `toJSON()` of what `navigator.credentials.get()` returns."""

    model_config = example(ASSERTION_EXAMPLE)

    id: CredentialId
    rawId: CredentialId  # noqa: N815
    type: Literal["public-key"]
    response: AssertionResponse

    @property
    def credential_id(self) -> bytes:
        """The bytes by which the credential is known."""
        return from_base64url(self.rawId)

    @property
    def user_handle(self) -> bytes | None:
        """The account that the credential is for, as the authenticator says; U2F keys do not."""
        handle = self.response.userHandle
        return None if handle is None else from_base64url(handle)


NewPasskey = Annotated[RegistrationCredential, BeforeValidator(_check_size)]
ShownPasskey = Annotated[AssertionCredential, BeforeValidator(_check_size)]
