"""The queries and bodies of operators' requests and responses about posts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

from service.db.base import MappedRow
from service.posts.every_state import PostState
from service.posts.schemas import POST_EXAMPLE, PostOut
from service.web.fields import Text
from service.web.openapi import example
from service.web.pagination import CursorQuery


class PostQuery(CursorQuery):
    """The posts of an author, with some words (websearch syntax), in a state, or all."""

    q: Annotated[Text, Field(max_length=1000)] | None = None
    author: Annotated[Text, Field(max_length=255)] | None = None
    state: PostState | None = None


ANY_POST_EXAMPLE: Final = {
    **POST_EXAMPLE, "state": "removed", "deleted_at": "2026-11-23T10:00:00.123456Z",
}  # fmt: skip


class AnyPostOut(PostOut):
    """A post in any state, as operators see it; `deleted_at` is null while it is visible."""

    model_config = example(ANY_POST_EXAMPLE)

    state: PostState
    deleted_at: datetime | None


class AnyPostList(BaseModel):
    """Posts in any state, newest first."""

    model_config = example({"posts": [ANY_POST_EXAMPLE], "next_cursor": None})

    posts: list[AnyPostOut]
    next_cursor: str | None


_MEMBERS: Final = tuple(AnyPostOut.model_fields)


def show_any_post(post: MappedRow) -> Mapping[str, object]:
    """Return a post as operators see it."""
    columns = post._mapping
    return {name: columns[name] for name in _MEMBERS}
