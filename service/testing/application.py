"""The application and the worker, as a test runs them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from pydantic_settings import BaseSettings
from pydantic_settings import PydanticBaseSettingsSource as Source

from service.app import create_app
from service.auth.passwords import Passwords
from service.settings import Environment, Settings
from service.web.server.application import Service
from service.worker.worker import WorkerTiming, run_worker

SECRET: Final = "a secret that is only good for tests, and long enough"  # noqa: S105
# Real argon2id, with the least work it can do: most tests are about something else.
QUICK_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
# A worker that does not keep a test waiting.
FAST: Final = WorkerTiming(
    first_retry=0.05, longest_retry=0.2, order=0.05, poll=0.2, heartbeat_timeout=1
)


class GivenSettings(Settings):
    """Settings that are not read from the environment."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: Source, *_: Source, **__: Source
    ) -> tuple[Source, ...]:
        """Take what is given, and nothing else."""
        return (init_settings,)


def make_settings(**values: object) -> Settings:
    """Settings for tests, not read from the environment; without limits unless asked for.

    Raises TypeError for a name that is no setting, and ValidationError for a wrong value.
    """
    if unknown := sorted(values.keys() - Settings.model_fields.keys()):
        raise TypeError(f"there is no setting {', '.join(unknown)}")
    defaults: dict[str, object] = {
        "service_env": Environment.TESTING,
        "secret_key": SECRET,
        "database_pool_size": 5,
        "ratelimit_enabled": False,
    }
    return GivenSettings.model_validate({**defaults, **values})


def make_app(settings: Settings) -> Service:
    """An application whose password hashes cost next to nothing."""
    app = create_app(settings)
    app.add_component(Passwords(hasher=QUICK_HASHER))
    return app


@dataclass(frozen=True)
class HomeLoop:
    """The event loop that an application was started in: its connections work in no other."""

    loop: asyncio.AbstractEventLoop


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """An application, started and, at the end, stopped."""
    app = make_app(settings)
    app.add_component(HomeLoop(asyncio.get_running_loop()))
    async with app.test_app():
        yield app


@asynccontextmanager
async def in_this_loop(app: Service) -> AsyncIterator[Service]:
    """A running application or, where another event loop runs than its own, a twin of it.

    pytest-asyncio runs a fixture in another loop than the test when their loop scopes differ. What
    both share is the database.
    """
    try:
        at_home = app.component(HomeLoop).loop is asyncio.get_running_loop()
    except KeyError:  # it was not started by `running`
        at_home = True
    if at_home:
        yield app
        return
    async with running(app.settings) as twin:
        yield twin


@asynccontextmanager
async def working(
    settings: Settings, timing: WorkerTiming = FAST
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker, at work until the block ends; its task may be cancelled before.

    Raises what the worker failed of.
    """
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stop, timing))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
