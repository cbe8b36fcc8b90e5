"""A storm from its beginning to the history that is left."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import asyncpg

from tests.support.polling import until
from tests.support.processes import ask
from tests.support.storm.clients import Account, Client, Newcomer, Visitor, Writer
from tests.support.storm.faults import rage
from tests.support.storm.followers import Follower
from tests.support.storm.history import Call, Event, Post, State
from tests.support.storm.machines import Machines
from tests.support.storm.recorder import Recorder

ACCOUNTS: Final = 3
KINDS: Final = (Writer, Writer, Writer, Visitor)  # of each account's clients
NEWCOMERS: Final = 1
FOLLOWERS: Final = 4
CALM: Final = 90  # seconds in which everything that was put off is done
# What failed in the storm is tried again now, and not after its wait.
HURRY: Final = "UPDATE pgqueuer SET execute_after = now() WHERE execute_after > now()"


@dataclass
class History:
    """What is left of a storm."""

    calls: list[Call]
    state: State
    streams: list[list[Event]]


async def storm(machines: Machines, seed: int, seconds: float) -> History:
    """Let clients work while faults happen, then wait for calm, and read what there is."""
    random = Random(seed)
    calls: list[Call] = []
    stop = asyncio.Event()
    clients = await _clients(machines.port, random, calls, stop)
    followers = [Follower(machines.port, Random(random.random())) for _ in range(FOLLOWERS)]
    following = [asyncio.create_task(follower.run()) for follower in followers]
    working = [asyncio.create_task(client.run()) for client in clients]
    try:
        await rage(machines, seed, seconds)
    finally:
        stop.set()
        await asyncio.gather(*working)
        await asyncio.gather(*(client.recorder.close() for client in clients))
    state = await _calm(machines, followers)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    return History(calls, state, [follower.seen for follower in followers])


async def _clients(
    port: int, random: Random, calls: list[Call], stop: asyncio.Event
) -> list[Client]:
    clients: list[Client] = []
    for number in range(ACCOUNTS):
        account = Account(f"author{number}@example.com")
        for kind in KINDS:
            name = f"{kind.__name__.lower()}{len(clients)}"
            own = Random(random.random())
            clients.append(kind(name, account, Recorder(port, own, calls), own, stop))
        registering = clients[-1].recorder.call(
            "register",
            "POST",
            "/auth/register",
            account.credentials,
            mark=account.email,
            may_abort=False,
        )
        assert (await registering).status == 201
    for number in range(NEWCOMERS):
        own = Random(random.random())
        recorder = Recorder(port, own, calls)
        clients.append(Newcomer(f"newcomer{number}", Account(""), recorder, own, stop))
    return clients


async def _calm(machines: Machines, followers: list[Follower]) -> State:
    """Wait until jobs and streams have caught up, and read what there is."""
    async with machines.connected() as connection:
        await _finish_jobs(machines, connection)
        state = await read_state(connection, machines)

    async def caught_up() -> bool:
        return all(each.seen and each.seen[-1].id == state.events[-1].id for each in followers)

    with suppress(TimeoutError):  # the checker says which one has not
        await until(caught_up, CALM)
    return state


async def _finish_jobs(
    machines: Machines, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    worker = machines.worker

    async def done() -> bool:
        assert worker.process.returncode is None, worker.log.read_text()
        await connection.execute(HURRY)
        return bool(await connection.fetchval("SELECT count(*) = 0 FROM pgqueuer"))

    try:
        await until(done, CALM)
    except TimeoutError:
        left = await connection.fetch(
            "SELECT entrypoint, status, attempts, heartbeat, execute_after, now() FROM pgqueuer"
        )
        raise AssertionError(f"{left}\n{worker.log.read_text()[-5_000:]}") from None


async def read_state(connection: "asyncpg.Connection[asyncpg.Record]", machines: Machines) -> State:
    """Read what there is."""
    posts = await connection.fetch("SELECT id::text, version, title, deleted_at FROM posts")
    events = await connection.fetch(
        "SELECT horizon, id, kind, post_id::text, data::jsonb->>'title' AS title, "
        "(data::jsonb->>'version')::int AS version FROM post_events ORDER BY horizon, id"
    )
    accounts = await connection.fetch("SELECT email FROM users")
    live = "SELECT id::text FROM sessions WHERE ended_at IS NULL"
    sessions = await connection.fetch(live)
    counted = await connection.fetchval("SELECT sum(posts)::int FROM post_counts")
    listed = await ask(machines.port, "GET", "/api/posts")
    return State(
        posts={r["id"]: Post(r["version"], r["title"], r["deleted_at"] is not None) for r in posts},
        events=tuple(
            Event(
                f"{r['horizon']}-{r['id']}",
                r["kind"],
                r["post_id"],
                r["version"] or 0,
                r["title"] or "",
            )
            for r in events
        ),
        accounts=frozenset(row["email"] for row in accounts),
        sessions=frozenset(row["id"] for row in sessions),
        counted=counted,
        listed=listed.json["total"],
        mailed=frozenset(mail["To"].addresses[0].addr_spec for mail in machines.smtp.mails),
    )
