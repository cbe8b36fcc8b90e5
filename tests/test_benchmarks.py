"""What the benchmark asks, and how its figures are put together; `make bench` runs the rest."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from benchmarks import requests
from benchmarks.chain import Answer
from benchmarks.multiply import multiply
from benchmarks.peers import PEERS
from benchmarks.sample import Sample, both, quotient
from benchmarks.target import Target
from benchmarks.variants import expand, services
from service.cli import demo_data

OWN, NEWER = Path("/own/python"), Path("/newer/python")


class LoggedIn(Target):
    """A peer that nobody has to serve: two logins, and one post for whoever creates one."""

    def log_in(self) -> list[dict[str, Any]]:
        return [{"access_token": f"access-{n}", "refresh_token": f"first-{n}"} for n in range(2)]

    def call(self, method: str, path: str, *_: object, token: str = "", **__: object) -> Any:
        assert (method, path) == ("POST", "/api/posts")
        return {"id": f"post-of-{token}"}


@pytest.fixture
def target() -> Target:
    return LoggedIn("peer", [1], [])


def test_refresh_sends_the_newest_refresh_token(target: Target) -> None:
    chain, other = requests.refresh(target)
    assert b"Bearer first-0\r\n" in chain.request
    chain.answered(Answer({}, json.dumps({"refresh_token": "second"}).encode()))
    assert b"Bearer second\r\n" in chain.request
    assert b"Bearer first-1\r\n" in other.request


def test_put_sends_the_tag_of_the_last_answer_as_if_match(target: Target) -> None:
    chain, _ = requests.put(target)
    assert chain.request.startswith(b"PUT /api/posts/post-of-access-0 HTTP/1.1\r\n")
    assert b"If-Match" not in chain.request
    first = chain.request
    chain.answered(Answer({b"etag": b'"2-abc"'}, b"{}"))
    assert b'\r\nIf-Match: "2-abc"\r\n' in chain.request
    assert chain.request.partition(b"\r\n\r\n")[2] != first.partition(b"\r\n\r\n")[2]
    chain.answered(Answer({}, b"{}"))
    assert b"If-Match" not in chain.request


def test_service_is_measured_on_each_server_and_python_beside_the_peers_once() -> None:
    chosen = [PEERS["service"], PEERS["flask"]]
    pythons = {"3.11": OWN, "3.14": NEWER}
    peers = {peer.name: peer for peer in expand(chosen, ["hypercorn", "uvicorn"], pythons)}
    own = ["service", "service-3.14", "service-uvicorn", "service-uvicorn-3.14"]
    assert list(peers) == [*own, "flask"]
    assert services(list(peers)) == own
    assert [peers[name].python for name in peers] == [OWN, NEWER, OWN, NEWER, None]
    assert "--server" not in peers["service-3.14"].command
    assert peers["service-uvicorn"].command.endswith(" --server uvicorn")


def test_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    def rounds(*figures: float) -> list[Sample]:
        return [Sample(figure, 0.5 * figure, 0, 0, 0, 1) for figure in figures]

    # The machine was ten times slower in the last round: the ratio of the medians would be 2.
    assert quotient(rounds(3, 4, 30), rounds(1, 2, 10), both) == "3.00"
    assert quotient(None, rounds(1), both) == "–"


async def test_multiplied_posts_are_counted_and_in_the_order_of_their_times(
    db: "asyncpg.Connection",
) -> None:
    async for _ in demo_data.add_users(db, 5, "password"):
        pass
    async for _ in demo_data.add_posts(db, 10):
        pass
    seeds = await db.fetchrow("SELECT min(created_at), array_agg(title) AS titles FROM posts")
    assert seeds
    events = await db.fetchval("SELECT count(*) FROM post_events")
    await multiply(db, 73)
    posts = await db.fetch("SELECT id, title, created_at FROM posts ORDER BY created_at, id")
    assert len(posts) == await db.fetchval("SELECT sum(posts) FROM post_counts") == 73
    assert posts[0]["created_at"] == seeds["min"]
    times = [post["created_at"] for post in posts]
    assert len(set(times)) == 73
    epoch, tick = datetime.fromtimestamp(0, UTC), timedelta(milliseconds=1)
    assert [post["id"].int >> 80 for post in posts] == [(time - epoch) // tick for time in times]
    assert {post["title"] for post in posts} <= set(seeds["titles"])
    assert await db.fetchval("SELECT count(*) FROM post_events") == events
