"""Posts written for streams to send, and how many streams are open."""

from typing import Any

from service.posts.stream import PostStream
from service.web.server.application import Service
from tests.support.client import Client

POST = {"title": "A title", "content": "Some content"}
INSERT = "INSERT INTO posts (id, author_id, title, content) VALUES ($1, $2, $3, $4)"


async def write_post(author: Client) -> Any:
    answer = await author.post("/api/posts", POST)
    assert answer.status == 201
    return answer.json


def open_streams(app: Service) -> int:
    count: int = app.component(PostStream).clients
    return count
