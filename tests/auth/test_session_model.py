"""Random sequences of what clients do, against a small model of a session.

Whatever the order: a session has one live refresh token or none, and nothing of a revoked session
works again.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.auth import callers, opening, refreshing, sessions
from service.auth.credentials import find_password
from service.auth.errors import RefreshReused, SessionNotFound
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.auth.tokens import Claims
from service.db.database import Database, close_session
from service.errors import ServiceError
from service.testing.clock import Clock
from service.web.client import INTERNAL
from service.web.server.application import Service
from tests.support.client import Client

GRACE = 30
LIFE = 3_000
MAX_AGE = 9_000


@dataclass
class Model:
    """A session as the contract tells it: every token it gave, the last one live."""

    tokens: list[RefreshToken]
    opened_at: float
    rotated_at: float = 0.0
    used_at: float = 0.0
    ended: bool = False

    def expired(self, now: float) -> bool:
        return now >= min(self.used_at + LIFE, self.opened_at + MAX_AGE)

    def works(self, now: float) -> bool:
        return not self.ended and not self.expired(now)


# Often what wears a session on, seldom what ends it.
WEIGHTS = {
    "login": 1,
    "fresh": 3,
    "parent": 2,
    "ancient": 1,
    "logout": 1,
    "revoke": 1,
    "all": 1,
    "wait": 1,
    "wait long": 1,
    "race": 2,
}
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([action for action, weight in WEIGHTS.items() for _ in range(weight)]),
        st.integers(0, 2**16),
    ),
    min_size=5,
    max_size=40,
)


class World:
    """The service's functions and the models, side by side."""

    def __init__(self, database: Database, user_id: UUID, clock: Clock) -> None:
        self.database = database
        self.user_id = user_id
        self.clock = clock
        self.models: list[Model] = []
        self.rules = SessionPolicy(*(timedelta(seconds=each) for each in (LIFE, MAX_AGE, GRACE)))

    @property
    def now(self) -> float:
        return self.clock.offset.total_seconds()

    async def run(self, work: Any) -> Any:
        """Do it in a transaction of its own, kept as the service keeps it."""
        session = self.database.session()
        try:
            result = await work(session)
        except ServiceError as error:
            await close_session(session, commit=error.keeps_changes)
            return error
        await close_session(session, commit=True)
        return result

    async def login(self) -> None:
        account = await self.run(lambda session: find_password(session, self.user_id))
        db = self.database.autocommit
        token = await opening.open_session(db, account, self.rules, INTERNAL)
        assert token
        self.models.append(Model([token], self.now, used_at=self.now))

    async def show(self, token: RefreshToken) -> RefreshToken | ServiceError:
        claims = Claims(self.user_id, token.session_id, token.token_id)
        rotated = await refreshing.rotate(self.database.autocommit, claims, self.rules, INTERNAL)
        if rotated is not None:
            return rotated
        shown: RefreshToken | ServiceError = await self.run(
            lambda s: refreshing.refresh(s, claims, self.rules, INTERNAL)
        )
        return shown

    async def refresh(self, model: Model, index: int) -> None:
        """Show the token of that index from the end: 0 fresh, 1 parent, more is ancient."""
        if index >= len(model.tokens):
            return
        answer = await self.show(model.tokens[-1 - index])
        if not model.works(self.now):
            assert isinstance(answer, ServiceError)
        elif index == 0:
            assert isinstance(answer, RefreshToken)
            model.tokens.append(answer)
            model.rotated_at = model.used_at = self.now
        elif index == 1 and self.now - model.rotated_at <= GRACE - 1:
            assert answer == model.tokens[-1]
        else:
            assert isinstance(answer, RefreshReused)
            model.ended = True

    async def race(self, model: Model, dice: random.Random) -> None:
        """Show several tokens at once, fresh and parent, and look where they end."""
        shown = [model.tokens[-1 - dice.randrange(min(2, len(model.tokens)))] for _ in range(4)]
        answers = await asyncio.gather(*(self.show(token) for token in shown))
        good = [answer for answer in answers if isinstance(answer, RefreshToken)]
        if not model.works(self.now):
            assert good == []
            return
        if model.tokens[-1] in shown:
            assert len({answer.token_id for answer in good} - {model.tokens[-1].token_id}) <= 1
        if any(isinstance(answer, RefreshReused) for answer in answers):
            model.ended = True
            return
        newest = max(good, key=lambda token: token.issued_at)
        if newest != model.tokens[-1]:
            model.tokens.append(newest)
            model.rotated_at = model.used_at = self.now

    async def act(self, action: str, dice: random.Random) -> None:
        if action == "login" or not self.models:
            return await self.login()
        model = dice.choice(self.models)
        match action:
            case "fresh" | "parent":
                await self.refresh(model, 0 if action == "fresh" else 1)
            case "ancient":
                await self.refresh(model, 2 + dice.randrange(3))
            case "logout" | "revoke":
                await self.end(model)
            case "all":
                await self.run(lambda s: sessions.revoke_sessions(s, self.user_id, INTERNAL))
                for each in self.models:
                    each.ended = True
            case "wait":
                self.clock.advance(dice.choice([5, 20, 45]))
            case "wait long":
                self.clock.advance(dice.choice([500, 2_000, LIFE + 1]))
            case "race":
                await self.race(model, dice)
        return None

    async def end(self, model: Model) -> None:
        session_id = model.tokens[0].session_id
        db = self.database.autocommit
        try:
            await sessions.revoke_session(db, self.user_id, session_id, INTERNAL)
        except SessionNotFound:
            assert not model.works(self.now)
        else:
            assert model.works(self.now)
        model.ended = True

    async def check(self) -> None:
        """No revoked session works, and every live one lists and works."""
        listed = await self.run(lambda s: sessions.list_sessions(s, self.user_id))
        live = {model.tokens[0].session_id for model in self.models if model.works(self.now)}
        assert {row.id for row in listed} == live
        for model in self.models:
            claims = Claims(self.user_id, model.tokens[0].session_id, uuid4())
            found = await callers.find_caller(self.database.read_session(), claims)
            assert (found is not None) == model.works(self.now)


@pytest.fixture
async def world(app: Service, client: Client, clock: Clock) -> World:
    """An account and its sessions."""
    registered = (await client.register()).json
    return World(app.database, UUID(registered["id"]), clock)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS)
async def test_login_sessions_behave_as_their_model(
    world: World, actions: list[tuple[str, int]]
) -> None:
    world.models.clear()
    await world.run(lambda s: sessions.revoke_sessions(s, world.user_id, INTERNAL))
    for action, seed in actions:
        await world.act(action, random.Random(seed))
    await world.check()
