"""A second factor for tests: an authenticator app that is set up for a client's account."""

from base64 import b32decode
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from sqlalchemy import update

from service import clock
from service.auth.models import User
from service.auth.second_factor.totp import make_code, step_of
from service.settings import Settings
from service.testing.application import in_this_loop, make_settings, running
from service.testing.client import Answer, Client
from service.web.server.application import Service

CONFIRM = "/auth/totp/confirm"

AnyClient = TypeVar("AnyClient", bound=Client)


@dataclass
class Authenticator:
    """An authenticator app, which shows codes by the service's clock."""

    secret: bytes
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """The code of the present step, or of one so many steps later."""
        return make_code(self.secret, step_of(clock.now()) + steps)

    def wrong_code(self) -> str:
        """A code that is wrong now, and for some steps more."""
        present = step_of(clock.now())
        right = {make_code(self.secret, present + steps) for steps in range(-3, 4)}
        return next(code for number in range(10) if (code := f"{number:06}") not in right)


async def verify_email(client: Client) -> None:
    """Make the address of the client's account a verified one."""
    statement = update(User).where(User.id == UUID(client.user["id"]))
    async with in_this_loop(client.app) as app, app.database.transaction() as session:
        await session.execute(statement.values(email_verified_at=clock.now()))


async def begin(client: Client) -> Authenticator:
    """Begin a set-up, which waits for its first code; the address is verified and fresh."""
    answer = await client.post("/auth/totp")
    assert answer.status == 201, answer.body
    return Authenticator(b32decode(answer.json["secret"]))


async def confirm(client: Client, authenticator: Authenticator) -> None:
    """Confirm a set-up, and keep its recovery codes.

    It takes the code of the step before, so that the present one is not spent.
    """
    answer = await client.post(CONFIRM, {"code": authenticator.code(-1)})
    if answer.status == 400:  # the step ended meanwhile
        answer = await client.post(CONFIRM, {"code": authenticator.code(-1)})
    assert answer.status == 200, answer.body
    authenticator.recovery_codes = answer.json["recovery_codes"]


async def turn_on(client: Client) -> Authenticator:
    """Turn the second factor of a client's account on, or replace its authenticator app.

    Its session must be fresh; the address is made a verified one. The code of the present step is
    good once, and that of the next one, `code(1)`, too.
    """
    await verify_email(client)
    authenticator = await begin(client)
    await confirm(client, authenticator)
    return authenticator


async def owner_of(client: AnyClient) -> AnyClient:
    """A client of its own, signed in to a new account whose address is verified."""
    one = await client.sign_up()
    await verify_email(one)
    return one


async def another_session(one: AnyClient) -> AnyClient:
    """A client of its own, signed in to the same account, whose second factor is off."""
    other = type(one)(one.app)
    assert (await other.login(one.user["email"])).status == 200
    return other


async def try_code(one: Client, code: object) -> Answer:
    """Confirm a set-up by a code."""
    return await one.post(CONFIRM, {"code": code})


async def is_on(one: Client) -> bool:
    """Whether the second factor of the client's account is on."""
    value: bool = (await one.get("/auth/security")).json["second_factor"]
    return value


def beside(settings: Settings, **changes: object) -> AbstractAsyncContextManager[Service]:
    """Another process of the service, on the same database."""
    return running(make_settings(database_url=settings.database_url, **changes))
