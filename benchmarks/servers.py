"""The peers' servers, all up at once on copies of the same data."""

import asyncio
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from benchmarks.data import PRODUCTION, ROOT, Cluster
from benchmarks.load import Requests
from benchmarks.peers import Peer
from benchmarks.processes import Server, free_ports
from benchmarks.scenarios import Scenario
from benchmarks.target import Target

SAMPLED_POSTS = 10_000
START_TIMEOUT = 60.0
POST_IDS = "SELECT id::text FROM posts ORDER BY random() LIMIT $1"
ONE_BODY = """SELECT json_build_object('id', posts.id, 'title', title, 'content', content,
'author', username, 'created_at', posts.created_at, 'updated_at', posts.created_at, 'version', 1)
FROM posts JOIN users ON users.id = author_id WHERE posts.id = $1"""


@dataclass(frozen=True)
class Place:
    """Where a run takes place."""

    cluster: Cluster
    production: Path  # the interpreter of the service's environment
    bench: Path  # and that of the benchmark's own
    folder: Path  # for logs and results


@dataclass
class Running:
    """A peer's servers and what they are asked."""

    peer: Peer
    servers: list[Server]
    target: Target
    requests: dict[str, Requests]

    def answers(self, scenario: Scenario) -> bool:
        """Whether the peer can be measured in the scenario."""
        if self.peer.only is not None:
            return scenario.name in self.peer.only
        return not scenario.own or self.peer.schema == "service"


@contextmanager
def serve(peer: Peer, place: Place, settings: dict[str, str], ids: list[str]) -> Iterator[Running]:
    """Start a peer's processes; end them afterwards."""
    environment = place.production if peer.environment == "production" else place.bench
    python = peer.python or environment
    target = Target(peer.name, free_ports(peer.processes), ids, settings["DATABASE_URL"])
    running = Running(peer, [], target, {})
    try:
        for number, port in enumerate(target.ports):
            command = [str(python), *peer.command.format(port=port).split()]
            log = place.folder / f"{peer.name}-{number}.log"
            running.servers.append(Server(command, settings, ROOT, log))
        yield running
    finally:
        for server in running.servers:
            server.stop()


async def wait_until_ready(running: Running) -> None:
    """Raises ServerError when a process ends, TimeoutError when one does not answer in time."""
    deadline = time.monotonic() + START_TIMEOUT
    path = f"/api/posts/{running.target.post_ids[0]}"
    for server, port in zip(running.servers, running.target.ports, strict=True):
        while True:
            server.check()
            try:
                await asyncio.to_thread(running.target.call, "GET", path, port=port)
                break
            except (URLError, ConnectionError):
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"no answer from {running.peer.name}: {server.log}"
                    ) from None
                await asyncio.sleep(0.1)


async def sample_posts(cluster: Cluster, database: str) -> tuple[list[str], str]:
    """Random ids, and the JSON of one post."""
    async with cluster.connect(database) as connection:
        ids = [str(row[0]) for row in await connection.fetch(POST_IDS, SAMPLED_POSTS)]
        return ids, str(await connection.fetchval(ONE_BODY, ids[0]))


@asynccontextmanager
async def all_running(
    peers: Sequence[Peer], posts: int, place: Place
) -> AsyncIterator[list[Running]]:
    """All peers, on fresh copies of the data with so many posts."""
    async with AsyncExitStack() as stack:
        copies = {
            schema: await stack.enter_async_context(place.cluster.copy(schema, posts))
            for schema in dict.fromkeys(peer.schema for peer in peers)
        }
        ids, body = await sample_posts(place.cluster, next(iter(copies.values())))
        common = {**PRODUCTION, "BENCH_BODY": body, "BENCH_PACKAGES": sysconfig.get_path("purelib")}
        up = []
        for peer in peers:
            settings = {**common, "DATABASE_URL": place.cluster.database(copies[peer.schema])}
            running = stack.enter_context(serve(peer, place, settings, ids))
            await wait_until_ready(running)
            up.append(running)
        yield up
