"""The bodies of requests that show a second factor, and of their responses."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, RootModel

from service.auth.passkeys.credentials import AssertionCredential, ShownPasskey
from service.auth.schemas import (
    CARRIED_EXAMPLE,
    TOKENS_EXAMPLE,
    USER_EXAMPLE,
    CarriedLoginOut,
    LoginOut,
)
from service.auth.second_factor.recovery_codes import normalise
from service.auth.second_factor.schemas import Code
from service.errors import BadRequest
from service.web.fields import Text
from service.web.openapi import PartialModel, SchemaKeyword, example


def _check_recovery_code(text: str) -> str:
    code = normalise(text)
    if code is None:
        raise ValueError("must be 16 letters and digits")
    return code


RecoveryCodeText = Annotated[
    Text,
    Field(max_length=1024),
    AfterValidator(_check_recovery_code),
    SchemaKeyword("pattern", r"^[\s-]*([0-9A-Za-z][\s-]*){16}$"),
]


# The name of a proof, and what was shown.
ShownProof = tuple[str, str | AssertionCredential]
# The value of a passkey that is not shown, which is never used.
_ABSENT: Final[Any] = Field(default_factory=lambda: None)


class Proof(PartialModel):
    """A proof of who somebody is: exactly one of the members that a body may show it by."""

    def proof(self) -> ShownProof:
        """Return the name and the value of the proof. Raises BadRequest unless there is one."""
        given = {name: getattr(self, name) for name in self.proofs() if name in self.given()}
        if len(given) == 1:
            return next(iter(given.items()))
        names = ", ".join(self.proofs())
        fault = "must be the only one" if given else "or another one"
        end = "" if given else " is required"
        faults = given or self.proofs()
        raise BadRequest(errors={name: [f"{fault} of {names}{end}"] for name in faults})

    @classmethod
    def proofs(cls) -> list[str]:
        """Return the names of the members that a proof may be shown by."""
        return [name for name, field in cls.model_fields.items() if not field.is_required()]


def _one_of(*names: str, **values: str) -> ConfigDict:
    """Return the configuration of a proof that is one of these members, with an example."""
    alternatives: list[JsonValue] = [{"required": [name]} for name in names]
    return ConfigDict(json_schema_extra={"examples": [dict(values)], "oneOf": alternatives})


class LoginProof(Proof):
    """The token of a login that waits, and a code, a recovery code or a passkey."""

    model_config = _one_of(
        "code",
        "recovery_code",
        "passkey",
        login_token="q7vAqkTl3T5mYb0yqk6Hc1t4nKf8Ww2sJ9dXzRvLpUE",  # noqa: S106
        code="287082",
    )

    login_token: Annotated[Text, Field(min_length=1, max_length=1024)]
    code: Code = ""
    recovery_code: RecoveryCodeText = ""
    passkey: ShownPasskey = _ABSENT


class StepUpProof(Proof):
    """The password while the second factor is off, else a code or a recovery code; or a passkey."""

    model_config = _one_of("password", "code", "recovery_code", "passkey", code="287082")

    password: Annotated[Text, Field(min_length=1, max_length=1024)] = ""
    code: Code = ""
    recovery_code: RecoveryCodeText = ""
    passkey: ShownPasskey = _ABSENT


class SteppedUp(BaseModel):
    """Until when the session is fresh."""

    model_config = example({"fresh_until": "2026-11-22T10:15:00.123456Z"})

    fresh_until: datetime


_LEFT: Final = Field(
    default=0, description="How many recovery codes are left, if the login used one."
)
_FINISHED: Final[Mapping[str, Any]] = {**TOKENS_EXAMPLE, "user": USER_EXAMPLE}


class FinishedLoginOut(LoginOut):
    """A pair of tokens and the account they are for, after the second factor."""

    model_config = example(_FINISHED)

    recovery_codes_left: int = _LEFT


class CarriedFinishedLoginOut(CarriedLoginOut):
    """A pair of tokens that cookies carry, and the account they are for, after the factor."""

    model_config = example({**CARRIED_EXAMPLE, "user": USER_EXAMPLE})

    recovery_codes_left: int = _LEFT


class FinishedLogin(RootModel[FinishedLoginOut | CarriedFinishedLoginOut]):
    """A pair of tokens, in the body or as cookies, after the second factor."""

    model_config = example(_FINISHED)
