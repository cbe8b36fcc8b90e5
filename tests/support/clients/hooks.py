"""What schemathesis needs to be told: how to sign in, and to stay signed in.

The Python of `.venv-clients` runs it; CALLER_EMAIL and CALLER_PASSWORD say as whom.
"""

import base64
import json
import os
from typing import Any
from uuid import uuid4

import requests
import schemathesis

from tests.support.polling import PATIENCE

EMAIL = os.environ["CALLER_EMAIL"]
PASSWORD = os.environ["CALLER_PASSWORD"]
# What ends the session, or changes the account, that it is called with.
SPENDING = {
    "change_me",
    "change_password",
    "delete_me",
    "logout",
    "refresh",
    "revoke_session",
    "revoke_sessions",
}
# Where good values have the caller's password.
PROOFS = {"change_password": "current_password", "delete_me": "password"}


class Bearer:
    """A token: one for all calls, and one of a new account for each that may spend it."""

    def __init__(self) -> None:
        self._token = ""

    def get(self, case: Any, context: Any) -> str:
        """Log in, where no token is at hand."""
        base = context.operation.schema.get_base_url().rstrip("/")
        name = _name(case)
        if name in SPENDING:
            email = f"{uuid4().hex}@example.com"
            _post(base, "/auth/register", email)
            tokens = _post(base, "/auth/login", email)
            return str(tokens["refresh_token" if name == "refresh" else "access_token"])
        self._token = self._token or str(_post(base, "/auth/login", EMAIL)["access_token"])
        return self._token

    def set(self, case: Any, data: str, context: Any) -> None:
        """Send the token."""
        case.headers["Authorization"] = f"Bearer {data}"


def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Know the password where it is asked for; an operator does not disable the own account."""
    name = _name(case)
    if name in PROOFS and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        case.body[PROOFS[name]] = PASSWORD
    if name == "change_user" and case.path_parameters.get("user_id") == _subject(case):
        case.path_parameters["user_id"] = str(uuid4())


def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Drop a false complaint: the coverage phase takes the number 0 for a good entity tag."""
    tags = {str(case.headers.get(name)) for name in ("If-Match", "If-None-Match")}
    return not (failure.code == "ST202" and "0" in tags)


def _name(case: Any) -> str:
    return str(case.operation.definition.raw["operationId"])


def _subject(case: Any) -> str:
    """Whose token the case has."""
    parts = str(case.headers.get("Authorization", "")).split(".")
    if len(parts) != 3:
        return ""
    try:
        return str(json.loads(base64.urlsafe_b64decode(parts[1] + "=="))["sub"])
    except (ValueError, KeyError, TypeError):
        return ""


def _post(base: str, path: str, email: str) -> Any:
    body = {"email": email, "password": PASSWORD}
    answer = requests.post(f"{base}{path}", json=body, timeout=PATIENCE)
    answer.raise_for_status()
    return answer.json()


schemathesis.auth(refresh_interval=None)(Bearer)
for hook in (before_call, filter_failure):
    schemathesis.hook(hook)
