"""The passwords that are refused: the most common ones, and an account's own names.

The list is Django's `django/contrib/auth/common-passwords.txt.gz` (BSD-3-Clause; nearly 20,000
passwords by frequency in the Pwned Passwords corpus, made by Royce Williams), taken unchanged.
"""

import gzip
from functools import cache
from importlib import resources
from typing import Final

from service.canonical import caseless
from service.errors import BadRequest
from service.web.request_state import find_request_state

LIST: Final = "common-passwords.txt.gz"
# Shorter passwords are refused anyway.
SHORTEST: Final = 8


@cache
def common_passwords() -> frozenset[str]:
    """Return the common passwords in lower case."""
    packed = resources.files(__package__).joinpath(LIST).read_bytes()
    words = gzip.decompress(packed).decode().lower().split("\n")
    return frozenset(word for word in words if len(word) >= SHORTEST)


def refuse_common(password: str) -> str:
    """Return the password. Raises ValueError when it is a common one, in any case.

    A request's application refuses as REFUSE_COMMON_PASSWORDS says; outside of a request, where an
    administrator is made, common passwords are always refused.
    """
    state = find_request_state()
    if state is not None and not state.app.settings.common_passwords_refused:
        return password
    if caseless(password) in common_passwords():
        raise ValueError("is one of the most common passwords")
    return password


def refuse_names(
    password: str, *, email: str, username: str | None, field: str = "password"
) -> None:
    """Raise BadRequest, naming the field, for the account's email or username, in any case."""
    names = (email, email.rpartition("@")[0], username or "")
    if caseless(password) in map(caseless, names):
        raise BadRequest(errors={field: ["must not be the email address or the username"]})
