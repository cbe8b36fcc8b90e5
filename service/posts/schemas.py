"""What posts take and show."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from service.posts.models import CONTENT_MAX, TITLE_MAX
from service.web.openapi import PartialModel
from service.web.text import NonBlank

Title = Annotated[NonBlank, Field(min_length=1, max_length=TITLE_MAX)]
Content = Annotated[NonBlank, Field(min_length=1, max_length=CONTENT_MAX)]


class NewPost(BaseModel):
    """A post to be written."""

    title: Title
    content: Content


class PostChange(PartialModel):
    """What changes of a post; what is left out stays."""

    title: Title = ""
    content: Content = ""


class PostOut(BaseModel):
    """A post; `author` is the author's username."""

    id: UUID
    title: str
    content: str
    author: str
    created_at: datetime


class PostPage(BaseModel):
    """One page of posts, newest first."""

    posts: list[PostOut]
    total: int
    pages: int
    current_page: int


def show_post(post: Any) -> dict[str, object]:
    """Show a row of a post with its author."""
    return {
        "id": post.id,
        "title": post.title,
        "content": post.content,
        "author": post.author,
        "created_at": post.created_at,
    }
