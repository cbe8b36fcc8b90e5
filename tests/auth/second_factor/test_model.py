"""Random sequences of what clients do with a second factor, against a small model of the account.

Whatever the order, and by whichever of two processes: no session without its factor, no spent proof
that works, and nobody who is kept out for good.
"""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service import clock as service_clock
from service.accounts.accounts import set_password
from service.admin.schemas import AccountChange
from service.admin.users import change_account
from service.auth.credentials import find_password
from service.auth.passwords import Passwords
from service.auth.second_factor.totp import step_of
from service.auth.security import SECOND_FACTORS
from service.auth.sessions import revoke_sessions
from service.settings import Settings
from service.testing.application import running
from service.testing.client import PASSWORD, Answer
from service.testing.clock import Clock
from service.web.client import INTERNAL
from tests.support.client import Client
from tests.support.second_factor import Authenticator, turn_on
from tests.support.sign_in import as_client, show

# Often what shows a proof, seldom what ends all.
WEIGHTS = {
    "login": 3,
    "code": 3,
    "recovery code": 2,
    "wrong code": 4,
    "replay": 3,
    "step up": 2,
    "turn on": 2,
    "turn off": 1,
    "reset": 1,
    "disable or enable": 1,
    "wait": 2,
}
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([action for action, weight in WEIGHTS.items() for _ in range(weight)]),
        st.integers(0, 2**16),
    ),
    min_size=8,
    max_size=24,
)


# What chance must not miss: replays, a reset that ends what waits, and a lock.
USUAL = [
    (action, seed)
    for seed, action in enumerate(
        ["login", "code", "replay", "replay", "recovery code", "login", "reset"]
        + ["code", "code", "code"]
        + ["login", "wrong code"] * 6
        + ["login", "code", "code", "recovery code", "step up", "wait", "login", "code"]
        + ["login", "disable or enable", "code", "disable or enable", "code"]
        + ["login", "turn off", "login", "turn on", "login", "code"]
    )
]


@dataclass
class Token:
    """A login that waits, as the contract describes it."""

    text: str
    epoch: int
    born: float
    failures: int = 0
    spent: bool = False


@dataclass
class World:
    """An account, and what the model knows of it."""

    clients: tuple[Client, Client]
    clock: Clock
    db: "asyncpg.Connection"
    dice: random.Random = field(default_factory=random.Random)
    email: str = ""
    user_id: UUID = field(default_factory=lambda: UUID(int=0))
    password: str = PASSWORD
    app: Authenticator | None = None
    active: bool = True
    epoch: int = 0
    live: int = 0
    tokens: list[Token] = field(default_factory=list)
    last_step: int = 0
    spent: list[tuple[str, str]] = field(default_factory=list)
    opened: Client | None = None

    @property
    def client(self) -> Client:
        return self.dice.choice(self.clients)

    @property
    def now(self) -> float:
        return self.clock.offset.total_seconds()

    async def begin(self) -> None:
        """An account of its own for each example."""
        owner = await self.clients[0].sign_up()
        self.email, self.user_id = owner.user["email"], UUID(owner.user["id"])
        self.live, self.opened = 1, owner

    async def is_locked(self) -> bool:
        statement = "SELECT locked_until > $2 FROM code_locks WHERE user_id = $1"
        return bool(await self.db.fetchval(statement, self.user_id, service_clock.now()))

    async def login(self) -> Answer:
        """Show the right password; a session opens only while no factor is on."""
        answer = await self.client.login(self.email, self.password)
        if not self.active:
            assert (answer.status, answer.json["message"]) == (403, "Account disabled")
        elif self.app is None:
            self.opened = as_client(self.client, answer)
            self.live += 1
        else:
            assert answer.json["reason"] == "second_factor_required"
            self.tokens.append(Token(answer.json["login_token"], self.epoch, self.now))
        return answer

    def token(self) -> Token | None:
        return self.dice.choice(self.tokens[-3:]) if self.tokens else None

    def waits(self, token: Token) -> bool:
        in_time = self.now - token.born < 299
        return in_time and token.failures < 5 and not token.spent

    async def finish(self, name: str, value: str, *, right: bool) -> None:
        """Show a proof for a login that waits, and look whether the answer is the model's."""
        token = self.token()
        if token is None:
            return
        locked = name == "code" and await self.is_locked()
        answer = await show(self.client, token.text, **{name: value})
        reason = answer.json.get("reason")
        if not self.waits(token) or (self.active and token.epoch != self.epoch):
            assert (answer.status, reason) == (401, "login_expired")
        elif not self.active:
            assert (answer.status, answer.json["message"]) == (403, "Account disabled")
        elif locked:
            assert (answer.status, reason) == (429, "second_factor_locked")
        elif right:
            self.opened = as_client(self.client, answer)
            token.spent = True
            self.live += 1
            self.note_spent(name, value)
        else:
            assert (answer.status, reason) == (401, "second_factor_failed")
            counted = "SELECT failures FROM login_tokens WHERE digest = $1"
            token.failures = await self.db.fetchval(counted, _digest(token.text))

    def note_spent(self, name: str, value: str) -> None:
        self.spent.append((name, value))
        if name == "code":
            self.last_step = step_of(service_clock.now())
        elif self.app is not None:
            self.app.recovery_codes.remove(value)

    def fresh_code(self) -> str:
        """A code that was not accepted so far."""
        assert self.app is not None
        while step_of(service_clock.now()) <= self.last_step:
            self.clock.advance(30)
        return self.app.code()

    async def step_up(self) -> None:
        if self.opened is None or self.app is None or not self.active:
            return
        locked, code = await self.is_locked(), self.fresh_code()
        answer = await self.opened.post("/auth/step-up", {"code": code})
        if answer.status == 401:  # the session ended
            return
        assert answer.status == (429 if locked else 200)
        if answer.status == 200:
            self.note_spent("code", code)

    async def turn_on(self) -> None:
        if self.app is not None or not self.active:
            return
        await self.login()
        assert self.opened is not None
        self.app = await turn_on(self.opened)
        self.epoch += 1
        self.live, self.last_step = 1, step_of(service_clock.now()) - 1

    async def turn_off(self) -> None:
        if self.app is None or not self.app.recovery_codes or not self.active:
            return
        await self.login()
        self.tokens = self.tokens[-1:]
        await self.finish("recovery_code", self.app.recovery_codes[0], right=True)
        assert self.opened is not None
        assert (await self.opened.delete("/auth/second-factor")).status == 204
        self.app = None
        self.epoch += 1

    async def reset(self) -> None:
        """Reset the password as the mailed link does."""
        app = self.client.app
        self.password = f"a long and good password {self.epoch}"
        new_hash = await app.component(Passwords).hash(self.password)
        async with app.database.transaction() as session:
            account = await find_password(session, self.user_id)
            assert account is not None
            await set_password(session, account, new_hash)
            await revoke_sessions(session, self.user_id, INTERNAL)
        self.epoch += 1
        self.live = 0

    async def set_active(self, active: bool) -> None:
        async with self.client.app.database.transaction() as session:
            change = AccountChange(is_active=active)
            await change_account(session, self.user_id, self.user_id, change, INTERNAL)
        self.active = active
        self.epoch += 1

    async def replay(self) -> None:
        """Show again what was accepted, for the newest login."""
        if not self.spent or self.app is None:
            return
        await self.login()
        self.tokens = self.tokens[-1:]
        name, value = self.dice.choice(self.spent[-3:])
        await self.finish(name, value, right=False)

    async def disable_or_enable(self) -> None:
        await self.set_active(not self.active)

    async def wait(self) -> None:
        self.clock.advance(self.dice.choice([31, 65, 310]))

    async def show_proof(self, action: str, app: Authenticator) -> None:
        if action == "code":
            await self.finish("code", self.fresh_code(), right=True)
        elif action == "wrong code":
            for _ in range(self.dice.choice([1, 2, 4])):
                await self.finish("code", app.wrong_code(), right=False)
        elif app.recovery_codes:
            code = self.dice.choice(app.recovery_codes)
            await self.finish("recovery_code", code, right=True)

    async def act(self, action: str) -> None:
        if action not in {"code", "recovery code", "wrong code"}:
            await getattr(self, action.replace(" ", "_"))()
        elif self.app is not None:
            await self.show_proof(action, self.app)

    async def check(self) -> None:
        """No session without its factor, and as many as were opened."""
        live = "SELECT methods FROM sessions WHERE user_id = $1 AND ended_at IS NULL"
        rows = await self.db.fetch(live, self.user_id)
        assert len(rows) == self.live
        if self.app is not None:
            assert all(SECOND_FACTORS & set(row["methods"]) for row in rows)

    async def check_way_back(self) -> None:
        """After a day at most, the owner is in again."""
        if not self.active:
            await self.set_active(True)
        self.clock.advance(86_401)
        answer = await self.login()
        if self.app is not None:
            token: str = answer.json["login_token"]
            assert (await show(self.client, token, code=self.fresh_code())).status == 200


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


@pytest.fixture
async def clients(client: Client, settings: Settings) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each of two applications on one database."""
    async with running(settings) as second:
        yield client, Client(second)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS)
@example(actions=USUAL)
async def test_second_factors_behave_as_their_model(
    clients: tuple[Client, Client],
    clock: Clock,
    db: "asyncpg.Connection",
    actions: list[tuple[str, int]],
) -> None:
    world = World(clients, clock, db)
    await world.begin()
    for action, seed in [("turn on", 0), *actions]:
        world.dice = random.Random(seed)
        await world.act(action)
        await world.check()
    await world.check_way_back()
