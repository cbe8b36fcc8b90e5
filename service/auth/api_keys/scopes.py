"""The scopes of API keys: what a key may do, and which scope opens a route."""

from enum import StrEnum
from typing import Final, NamedTuple


class Scope(StrEnum):
    """What a key may do."""

    POSTS_WRITE = "posts:write"
    ACCOUNT_READ = "account:read"
    ADMIN_READ = "admin:read"
    ADMIN_WRITE = "admin:write"


OF_ADMINS: Final = frozenset({Scope.ADMIN_READ, Scope.ADMIN_WRITE})


class RouteScopes(NamedTuple):
    """The scopes that open a route to keys, by GET and by other methods; None opens it to none."""

    read: Scope | None = None
    write: Scope | None = None


CLOSED: Final = RouteScopes()
# The attribute of a route that requires a login which has the scopes that open it to keys.
SCOPES_ATTRIBUTE: Final = "_scopes"
ADMIN: Final = RouteScopes(Scope.ADMIN_READ, Scope.ADMIN_WRITE)
