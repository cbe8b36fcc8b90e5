"""The requests of each scenario, ready as bytes, or as chains where one follows from another."""

import json
from collections.abc import Generator, Iterator
from itertools import count, cycle, islice
from random import Random
from urllib.parse import quote

from benchmarks.chain import Answer, Chain
from benchmarks.target import Target, http

DEEP_PAGE = 2000
# Few, so that most totals are known once the connections are warm, as common words' are.
SEARCHES = 40


def one_post(target: Target) -> list[bytes]:
    return [http("GET", f"/api/posts/{post_id}") for post_id in target.post_ids]


def first_page(_: Target) -> list[bytes]:
    return [http("GET", "/api/posts?page=1&per_page=20")]


def deep_page(_: Target) -> list[bytes]:
    return [http("GET", f"/api/posts?page={DEEP_PAGE}&per_page=20")]


def deep_cursor(target: Target) -> list[bytes]:
    cursor = target.call("GET", f"/api/posts?page={DEEP_PAGE}&per_page=20")["next_cursor"]
    return [http("GET", f"/api/posts?cursor={quote(cursor, safe='')}&per_page=20")]


def search(target: Target) -> list[bytes]:
    """Searches for one and for two words of random posts: most are in many posts, some in few."""
    random = Random(1)
    requests = []
    for post_id, words in zip(target.post_ids, islice(cycle((1, 2)), SEARCHES), strict=False):
        post = target.call("GET", f"/api/posts/{post_id}")
        found = " ".join(random.sample(f"{post['title']} {post['content']}".split(), words))
        requests.append(http("GET", f"/api/posts?q={quote(found)}&per_page=20"))
    return requests


def me(target: Target) -> list[bytes]:
    return [http("GET", "/auth/me", token=token) for token in target.access_tokens()]


def new_posts(title: str) -> Iterator[dict[str, str]]:
    random = Random(1)
    words = [f"word{random.randrange(10_000)}" for _ in range(1000)]
    while True:
        yield {"title": title, "content": " ".join(random.sample(words, 60))}


def create(target: Target) -> list[bytes]:
    posts = new_posts("Created by the benchmark")
    tokens = target.access_tokens()
    return [http("POST", "/api/posts", token=token, body=next(posts)) for token in tokens]


def login(target: Target) -> list[bytes]:
    return [http("POST", "/auth/login", body=login) for login in target.credentials()]


def put(target: Target) -> list[Chain]:
    """Changes of posts, each client's of its own; peers that give no entity tag get no If-Match."""
    posts = new_posts("Changed by the benchmark")

    def changes(token: str, post_id: str) -> Generator[bytes, Answer, None]:
        tag = ""
        for number in count():
            post = next(posts)
            post["title"] += f" {number}"
            path = f"/api/posts/{post_id}"
            answer = yield http("PUT", path, token=token, body=post, if_match=tag)
            tag = answer.headers.get(b"etag", b"").decode()

    return [
        Chain(changes(token, target.call("POST", "/api/posts", next(posts), token=token)["id"]))
        for token in target.access_tokens()
    ]


def refresh(target: Target) -> list[Chain]:
    """Refreshes, each client's of its own login, always with its newest refresh token."""

    def refreshes(token: str) -> Generator[bytes, Answer, None]:
        while True:
            answer = yield http("POST", "/auth/refresh", token=token)
            token = json.loads(answer.body)["refresh_token"]

    return [Chain(refreshes(answer["refresh_token"])) for answer in target.log_in()]
