"""Who waits for a password hash, how long, and who is refused at once."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Self

import asyncpg
import pytest
from argon2 import PasswordHasher

from service.auth.hashing_queue import FIRST_DURATION, SPREAD, WAIT_MAX, HashingQueue
from service.auth.passwords import Passwords
from service.errors import Unavailable
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD, Answer
from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.round_trips import Trips

MESSAGE = "Too many people are signing in; try again in a moment"
NEW_PASSWORD = "another correct horse"


class Jam:
    """A queue whose only thread is at work that ends when it is allowed to, or with the block."""

    def __init__(self, queue: HashingQueue) -> None:
        self.queue = queue
        self._gate = threading.Event()

    async def __aenter__(self) -> Self:
        self._tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(self.queue.run(self._gate.wait))
        ]
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def add(self, count: int, work: Callable[[], object] = int) -> None:
        """Let callers wait behind it."""
        self._tasks += [asyncio.create_task(self.queue.run(work)) for _ in range(count)]
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Let the thread go on, until nobody waits."""
        self._gate.set()
        await asyncio.gather(*self._tasks)


@pytest.fixture
async def jam() -> AsyncIterator[Jam]:
    """A jam of a queue that is a test's own."""
    queue = HashingQueue(1)
    async with Jam(queue) as jam:
        yield jam
    queue.close()


@pytest.mark.parametrize(
    ("admitted", "interval", "retry_after"),
    [(5, 0.9, "1"), (60, 0.09, "1"), (5, 2.9, "13"), (1, 20.9, "37")],
    ids=["usual", "quick hashes", "slower since", "much slower since"],
)
async def test_caller_who_would_wait_too_long_is_refused_with_the_time_to_wait(
    jam: Jam, admitted: int, interval: float, retry_after: str
) -> None:
    await jam.add(admitted)
    assert jam.queue.pending == 1 + admitted
    jam.queue._interval = interval
    with pytest.raises(Unavailable, match=MESSAGE) as error:
        await jam.queue.run(int)
    assert error.value.headers["Retry-After"] == retry_after
    assert jam.queue.pending == 1 + admitted


async def test_refused_callers_are_asked_to_come_back_one_after_the_other(jam: Jam) -> None:
    await jam.add(5)
    jam.queue._interval = 0.9
    asked = []
    for _ in range(30):
        with pytest.raises(Unavailable) as error:
            await jam.queue.run(int)
        asked.append(int(error.value.headers["Retry-After"]))
    assert asked[:3] == [1, 2, 3]
    assert asked[-1] == SPREAD


async def test_caller_who_would_wait_for_less_than_the_bound_is_admitted(jam: Jam) -> None:
    await jam.add(4)
    jam.queue._interval = 0.9
    await jam.add(1)
    assert jam.queue.pending == 6


async def test_wait_is_predicted_before_any_hash_was_measured(jam: Jam) -> None:
    await jam.add(39)
    assert jam.queue.predict_wait() >= 40 * FIRST_DURATION


async def test_work_that_takes_longer_than_ever_counts_before_it_ends(jam: Jam) -> None:
    jam.queue._progress -= 30
    with pytest.raises(Unavailable) as error:
        jam.queue.require_room()
    assert error.value.headers["Retry-After"] == "26"


async def test_thread_that_is_free_refuses_nobody_after_the_machine_stood_still(jam: Jam) -> None:
    jam.queue._progress -= 3_600
    await jam.end()
    assert jam.queue.predict_wait() == 0
    await jam.queue.run(int)
    assert jam.queue._interval < WAIT_MAX / 3


async def test_wait_is_predicted_by_all_threads_after_quiet_times() -> None:
    queue = HashingQueue(4)
    for _ in range(40):  # alone, one after the other
        await queue.run(lambda: time.sleep(0.01))
    gate = threading.Event()
    burst = [asyncio.create_task(queue.run(gate.wait)) for _ in range(44)]
    await asyncio.sleep(0)
    assert 0.1 <= queue.predict_wait() < 0.25  # 41 callers after 0.01 s / 4 each
    gate.set()
    await asyncio.gather(*burst)
    queue.close()


async def test_intervals_follow_the_last_hashes(jam: Jam) -> None:
    await jam.end()
    for _ in range(30):
        await jam.queue.run(int)
    assert jam.queue._interval < FIRST_DURATION / 2


async def test_callers_are_served_in_the_order_in_which_they_came(jam: Jam) -> None:
    served: list[int] = []
    for number in range(5):
        await jam.add(1, partial(served.append, number))
    await jam.end()
    assert served == [0, 1, 2, 3, 4]


async def test_cancelled_caller_leaves_the_queue_and_its_work_is_not_done(jam: Jam) -> None:
    done: list[None] = []
    leaving = asyncio.create_task(jam.queue.run(lambda: done.append(None)))
    await jam.add(1)
    assert jam.queue.pending == 3
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.sleep(0)
    assert jam.queue.pending == 2
    await jam.end()
    assert (done, jam.queue.pending) == ([], 0)


async def test_cancelled_caller_counts_until_its_thread_is_done() -> None:
    queue, gate = HashingQueue(1), threading.Event()
    leaving = asyncio.create_task(queue.run(gate.wait))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert queue.pending == 1
    gate.set()
    await queue.run(int)  # after it, in the only thread
    assert queue.pending == 0
    queue.close()


async def test_caller_who_waited_longer_than_was_predicted_is_refused(
    jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.auth.hashing_queue.PATIENCE", 0.01)
    with pytest.raises(Unavailable, match=MESSAGE):
        await jam.queue.run(int)
    await asyncio.sleep(0)
    assert jam.queue.pending == 1


def jam_of(app: Service) -> Jam:
    """A jam of an application's own queue, in which a newcomer would wait for a minute."""
    queue = app.component(Passwords)._queue
    queue._threads = 1
    queue._interval = 60.0
    return Jam(queue)


def busy(answer: Answer) -> None:
    """Assert the refusal of a full queue."""
    refused(answer, 503, MESSAGE)
    assert answer.headers["Retry-After"] == "55"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux")
@pytest.mark.parametrize(("threads", "niceness"), [(1, 10), (2, 13), (5, 17), (100, 19)])
async def test_all_hashing_threads_together_weigh_a_ninth_of_the_event_loop(
    threads: int, niceness: int
) -> None:
    queue = HashingQueue(threads)
    own = os.getpriority(os.PRIO_PROCESS, 0)

    def look() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await queue.run(look) == min(own + niceness, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    queue.close()


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
async def test_busy_login_is_refused_without_a_look_at_the_account(
    client: Client, app: Service, trips: Trips, email: str
) -> None:
    await client.register("ada@example.com")
    async with jam_of(app):
        trips.sent.clear()
        busy(await client.login(email))
        assert trips.sent == []


async def test_whatever_hashes_a_password_is_refused_while_the_queue_is_full(
    client: Client, app: Service
) -> None:
    ada = await client.sign_up()
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    async with jam_of(app):
        busy(await client.register("bob@example.com"))
        busy(await ada.put("/auth/password", change))
        busy(await ada.delete("/auth/me", {"password": PASSWORD}))
    assert (await ada.put("/auth/password", change)).status == 204


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the account was found"])
async def test_refused_login_does_not_count_as_a_failed_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    limits = {"ratelimit_login": "", "ratelimit_login_account": "3/hour"}
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path, ratelimit_enabled=True, **limits
    )
    async with running(settings) as app:
        client = Client(app)
        await client.register("ada@example.com")
        with monkeypatch.context() as patch:
            if late:  # others came first while the account was looked for
                patch.setattr(Passwords, "require_room", lambda _: None)
            async with jam_of(app):
                for _ in range(5):
                    busy(await client.login("ada@example.com", "a wrong one"))
        again = [(await client.login("ada@example.com", "a wrong one")).status for _ in range(4)]
        assert again == [401, 401, 401, 429]


async def test_request_that_hashes_twice_waits_once(
    client: Client, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await client.sign_up()
    run, waits = HashingQueue.run, []

    async def count(self: HashingQueue, work: Callable[[], object]) -> object:
        waits.append(work)
        return await run(self, work)

    monkeypatch.setattr(HashingQueue, "run", count)
    outdated = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash(PASSWORD)
    await db.execute("UPDATE users SET password_hash = $1", outdated)
    assert (await ada.login(ada.user["email"])).status == 200
    assert await db.fetchval("SELECT password_hash FROM users") != outdated
    assert len(waits) == 1
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await ada.put("/auth/password", change)).status == 204
    assert len(waits) == 2
