"""What posts take and show."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID
from zlib import crc32

from pydantic import BaseModel, Field

from service.posts.models import CONTENT_MAX, TITLE_MAX
from service.web.conditional import EntityTag, TagCondition
from service.web.pagination import PageQuery
from service.web.text import NonBlank, Text

_TAG: Final = re.compile(r"([0-9]{1,9})-[0-9a-f]{8}")

Title = Annotated[NonBlank, Field(min_length=1, max_length=TITLE_MAX)]
Content = Annotated[NonBlank, Field(min_length=1, max_length=CONTENT_MAX)]


class NewPost(BaseModel):
    """A post to be written."""

    title: Title
    content: Content


class PostChange(BaseModel):
    """What changes of a post; what is left out stays."""

    title: Title = ""
    content: Content = ""


class PostQuery(PageQuery):
    """Which posts: all, one author's, those with the words (websearch syntax), or both."""

    author: Annotated[Text, Field(max_length=255)] | None = None
    q: Annotated[Text, Field(max_length=1000)] | None = None


class PostOut(BaseModel):
    """A post; `author` is the author's username, `version` grows with every change."""

    id: UUID
    title: str
    content: str
    author: str
    created_at: datetime
    updated_at: datetime
    version: int


class PostList(BaseModel):
    """Posts, newest first, read by cursor."""

    posts: list[PostOut]
    next_cursor: str | None


class PostPage(PostList):
    """One page of posts; with `total_capped` there are at least `total`."""

    total: int
    pages: int
    current_page: int
    total_capped: bool = False


def show_post(post: Any) -> Mapping[str, object]:
    """Show a row of a post with its author."""
    return {
        "id": post.id,
        "title": post.title,
        "content": post.content,
        "author": post.author,
        "created_at": post.created_at,
        "updated_at": post.updated_at,
        "version": post.version,
    }


def post_tag(post: Any) -> EntityTag:
    """Tag a row of a post by its version, and by the author's name, which is shown with it."""
    return EntityTag(f"{post.version}-{crc32(post.author.encode()):08x}")


def versions_named(condition: TagCondition) -> list[int]:
    """The versions that an If-Match asks for; the author's name is not the post's to lose."""
    return [int(found[1]) for tag in condition.strong if (found := _TAG.fullmatch(tag))]
