"""The queries and bodies of requests and responses of posts."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID
from zlib import crc32

from pydantic import BaseModel, Field

from service.posts.models import CONTENT_MAX, TITLE_MAX
from service.posts.rows import PostRow
from service.web.conditional import EntityTag, TagCondition
from service.web.fields import NonBlank, Text
from service.web.openapi import PartialModel, example
from service.web.pagination import PageQuery

_TAG: Final = re.compile(r"([0-9]{1,9})-[0-9a-f]{8}")

Title = Annotated[NonBlank, Field(min_length=1, max_length=TITLE_MAX)]
Content = Annotated[NonBlank, Field(min_length=1, max_length=CONTENT_MAX)]


class NewPost(BaseModel):
    """A new post; each field is a column of the table."""

    model_config = example({"title": "Notes", "content": "On the analytical engine."})

    title: Title
    content: Content


class PostChange(PartialModel):
    """The changes of a post; fields left out stay as they are."""

    model_config = example({"title": "Notes, revised"})

    title: Title = ""
    content: Content = ""


class PostQuery(PageQuery):
    """The posts of an author, with some words (websearch syntax), with both, or all."""

    author: Annotated[Text, Field(max_length=255)] | None = None
    q: Annotated[Text, Field(max_length=1000)] | None = None


POST_EXAMPLE: Final = {
    "id": "019ab2f7-10b3-7c44-9e21-5f8a6d3c2b17",
    "title": "Notes", "content": "On the analytical engine.", "author": "ada",
    "created_at": "2026-11-22T10:00:00.123456Z", "updated_at": "2026-11-22T10:00:00.123456Z",
    "version": 1,
}  # fmt: skip
LIST_EXAMPLE: Final = {"posts": [POST_EXAMPLE], "next_cursor": None}


class PostOut(BaseModel):
    """A post; `author` is a username, and `version` grows with every change."""

    model_config = example(POST_EXAMPLE)

    id: UUID
    title: str
    content: str
    author: str
    created_at: datetime
    updated_at: datetime
    version: int


class PostList(BaseModel):
    """Posts, newest first, by cursor."""

    model_config = example(LIST_EXAMPLE)

    posts: list[PostOut]
    next_cursor: str | None


class PostPage(PostList):
    """Posts, newest first; by page with totals, by cursor without.

    With `total_capped` there are at least `total`.
    """

    model_config = example({**LIST_EXAMPLE, "total": 1, "pages": 1, "current_page": 1})

    total: Annotated[int, Field(ge=0)] = 0
    pages: Annotated[int, Field(ge=0)] = 0
    current_page: Annotated[int, Field(ge=1)] = 1
    total_capped: bool = False


_MEMBERS: Final = tuple(PostOut.model_fields)


def show_post(post: PostRow) -> Mapping[str, object]:
    """Return a post as the API shows it."""
    columns = post._mapping
    return {name: columns[name] for name in _MEMBERS}


def post_tag(post: PostRow) -> EntityTag:
    """Return the entity tag of a post: its version and its author's name, which is shown, too."""
    return tag_of(post.version, post.author)


def tag_of(version: int, author: str) -> EntityTag:
    """Return the entity tag of a version of a post by an author of this name."""
    return EntityTag(f"{version}-{crc32(author.encode()):08x}")


def versions_named(condition: TagCondition) -> list[int]:
    """Return the versions in a condition's tags; another name of the author is no conflict."""
    return [int(match[1]) for tag in condition.tags if (match := _TAG.fullmatch(tag))]
