"""The bodies of requests and responses for second factors and their recovery codes."""

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field

from service.web.fields import Text
from service.web.openapi import SchemaKeyword, example

_SPACES: Final = re.compile(r"\s+")
_SIX_DIGITS: Final = re.compile("[0-9]{6}")


def _six_digits(text: str) -> str:
    code = _SPACES.sub("", text)
    if _SIX_DIGITS.fullmatch(code) is None:
        raise ValueError("must be 6 digits")
    return code


# A code of an authenticator app, without the spaces that apps show in it.
Code = Annotated[
    Text,
    Field(max_length=1024),
    AfterValidator(_six_digits),
    SchemaKeyword("pattern", r"^\s*([0-9]\s*){6}$"),
]


class TotpOut(BaseModel):
    """An authenticator app: since when it is in use, and when a code of it was last used."""

    model_config = example(
        {"created_at": "2026-11-22T10:00:00.123456Z", "last_used_at": "2026-11-23T08:30:00.654321Z"}
    )

    created_at: datetime
    last_used_at: datetime | None


class SecurityOut(BaseModel):
    """What protects the caller's account; `fresh_until` is null once the session is not fresh."""

    model_config = example(
        {
            "password": True, "second_factor": True,
            "totp": {"created_at": "2026-11-22T10:00:00.123456Z", "last_used_at": None},
            "recovery_codes": 10, "passkeys": 0, "identities": 0, "keys": 1,
            "fresh_until": "2026-11-22T10:15:00.123456Z",
        }
    )  # fmt: skip

    password: bool
    second_factor: bool
    totp: TotpOut | None
    recovery_codes: int
    passkeys: int
    identities: int
    keys: int
    fresh_until: datetime | None


class TotpSetupOut(BaseModel):
    """An authenticator app that waits for its first code; `qr` is a picture of `uri`."""

    model_config = example(
        {
            "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "uri": "otpauth://totp/example.com:ada%40example.com"
            "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=example.com",
            "qr": "data:image/svg+xml;charset=utf-8,%3Csvg%20xmlns%3D...",
            "expires_at": "2026-11-22T10:10:00.123456Z",
        }
    )

    secret: str
    uri: str
    qr: str
    expires_at: datetime


class TotpConfirmation(BaseModel):
    """The present code of the authenticator app that waits."""

    model_config = example({"code": "492039"})

    code: Code


class RecoveryCodesOut(BaseModel):
    """Recovery codes, which are shown this once; none when there are no new ones."""

    model_config = example({"recovery_codes": ["7Q2M-0XKD-V5HT-9CJR", "B3WE-8N1Z-YF6G-4APS"]})

    recovery_codes: list[str]
