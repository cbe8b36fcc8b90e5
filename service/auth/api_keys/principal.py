"""The caller by an API key, sent as Bearer."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from hmac import compare_digest
from typing import Final, cast
from uuid import UUID

from service import clock
from service.auth.api_keys import form
from service.auth.api_keys.lookup import BY_LOOKUP, KeyRow
from service.auth.api_keys.scopes import CLOSED, RouteScopes
from service.auth.api_keys.seen import LOOKED_UP_EVERY, SeenKey, SeenKeys
from service.auth.api_keys.uses import KeyUses
from service.auth.errors import AccountDisabled, InsufficientScope
from service.auth.principal import Principal, TokenAuth
from service.auth.tokens import EXPIRED, INVALID
from service.errors import Unavailable
from service.web.db_session import SAFE_METHODS
from service.web.request_state import request_state
from service.web.server.application import Service
from service.web.telemetry import bind_user

# Seconds that a public read waits for the database to say whose key it got.
IDENTIFIED_WITHIN: Final = 0.5


class ApiKeys:
    """What one process knows of the API keys that it gets."""

    def __init__(self, app: Service) -> None:
        self.prefix: Final = app.settings.api_key_prefix
        self.database: Final = app.database
        self.seen: Final = SeenKeys()
        self.uses: Final = KeyUses(app.database.autocommit)

    def read(self, key: str) -> Principal:
        """Return the principal of a key, without raising."""
        digest, now = form.digest_of(key), clock.now()
        seen = self.seen.find(digest, now)
        if seen is None and not form.is_key(self.prefix, key):
            return Principal(problem=INVALID)
        return KeyPrincipal(self, digest, seen, now)


class KeyPrincipal(Principal):
    """The caller by an API key.

    The id of the account is known at once for a key that this process has found good before, as
    limits and public reads need it. Routes that require a login look the key up.
    """

    sent_key = True

    def __init__(self, keys: ApiKeys, digest: bytes, seen: SeenKey | None, now: datetime) -> None:
        super().__init__(problem=INVALID)
        self._keys = keys
        self._digest = digest
        self._seen = seen
        self._now = now
        self._failure: str | None = None
        self._looked_up = False
        self._disabled = False
        self._scopes: Sequence[str] = ()
        self._key_id: UUID | None = None
        state = request_state()
        self._remember = seen is None or now - seen.looked_up_at >= LOOKED_UP_EVERY
        if self._remember:
            state.identify = self._identify
        if seen is not None:
            self._auth_id = seen.owner
            keys.uses.note(seen.key_id, now, state.client_ip)
            bind_user(seen.owner)

    @property
    async def is_authenticated(self) -> bool:
        """Whether the key and its account are live. Raises AccountDisabled (403) or Unavailable."""
        if self._failure is not None:
            raise Unavailable(self._failure)
        if not self._looked_up:
            await self._look_up()
        if self._disabled:
            raise AccountDisabled
        return self.key is not None

    @property
    def user_id(self) -> UUID:
        """The caller's id, on routes that require a login."""
        return self.account.id

    def check_permission(self, scopes: RouteScopes = CLOSED) -> None:
        """Raise InsufficientScope (403) unless the key has the scope that opens the route."""
        state = request_state()
        scope = scopes.read if state.method in SAFE_METHODS else scopes.write
        if scope is None or scope not in self._scopes:
            raise InsufficientScope(scope)
        state.key_id = self._key_id

    async def _identify(self) -> None:
        """Look the key up for a route that may need no login."""
        try:
            async with asyncio.timeout(IDENTIFIED_WITHIN):
                await self._look_up()
        except Unavailable as error:  # public reads go on
            self._failure = error.message  # the error itself leads here, which were a cycle
        except TimeoutError:  # routes that require a login look it up again, and wait
            pass
        else:
            return
        if self._seen is None:  # a replica must not answer, because what its owner wrote is unknown
            request_state().identify = self._identify
        else:  # not at each request anew, because each would wait
            self._keys.seen.add(self._digest, self._seen._replace(looked_up_at=self._now))

    async def _look_up(self) -> None:
        state = request_state()
        state.identify = None
        lookup = form.lookup_of(self._digest)
        # Columns by their names in brackets: as attributes each would cost a call.
        row = await self._keys.database.autocommit.fetch_by_key(BY_LOOKUP, lookup)
        self._looked_up = True
        if row is None or not compare_digest(row["digest"], self._digest) or row["deleted_at"]:
            self._refuse(INVALID)
            return
        expires_at = row["expires_at"]
        if expires_at is not None and expires_at <= self._now:
            self._refuse(EXPIRED)
            return
        self._disabled = not row["is_active"]
        if self._disabled:
            self._refuse(INVALID)
            return
        self.key = self._account = cast(KeyRow, row)
        self._scopes, key_id = row["scopes"], row["key_id"]
        self._key_id = key_id
        if self._remember:
            owner = str(row["id"])
            self._keys.seen.add(self._digest, SeenKey(owner, key_id, expires_at, self._now))
        if self._auth_id is None:
            self._auth_id = owner
            self._keys.uses.note(key_id, self._now, state.client_ip)
            bind_user(self._auth_id)

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self._auth_id = None
        self._keys.seen.drop(self._digest)


def init_app(app: Service) -> None:
    """Authenticate callers by API keys, and write when keys are used while the application serves.

    The callers' principals must be installed already.
    """
    keys = ApiKeys(app)
    app.add_component(keys)
    app.component(TokenAuth).take_keys(form.start_of(keys.prefix), keys.read)

    @app.while_serving
    async def write_uses() -> AsyncGenerator[None, None]:
        async with keys.uses.written():
            yield
