"""What posts take and show."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, Field

from service.posts.models import CONTENT_MAX, TITLE_MAX
from service.web.openapi import PartialModel, example
from service.web.text import NonBlank

Title = Annotated[NonBlank, Field(min_length=1, max_length=TITLE_MAX)]
Content = Annotated[NonBlank, Field(min_length=1, max_length=CONTENT_MAX)]


class NewPost(BaseModel):
    """A post to be written."""

    model_config = example({"title": "Notes", "content": "On the analytical engine."})

    title: Title
    content: Content


class PostChange(PartialModel):
    """What changes of a post; what is left out stays."""

    model_config = example({"title": "Notes, revised"})

    title: Title = ""
    content: Content = ""


POST_EXAMPLE: Final = {
    "id": "019ab2f7-10b3-7c44-9e21-5f8a6d3c2b17",
    "title": "Notes",
    "content": "On the analytical engine.",
    "author": "ada",
    "created_at": "2026-11-22T10:00:00.123456Z",
}


class PostOut(BaseModel):
    """A post; `author` is the author's username."""

    model_config = example(POST_EXAMPLE)

    id: UUID
    title: str
    content: str
    author: str
    created_at: datetime


class PostPage(BaseModel):
    """One page of posts, newest first."""

    model_config = example({"posts": [POST_EXAMPLE], "total": 1, "pages": 1, "current_page": 1})

    posts: list[PostOut]
    total: Annotated[int, Field(ge=0)]
    pages: Annotated[int, Field(ge=0)]
    current_page: Annotated[int, Field(ge=1)]


def show_post(post: Any) -> dict[str, object]:
    """Show a row of a post with its author."""
    return {
        "id": post.id,
        "title": post.title,
        "content": post.content,
        "author": post.author,
        "created_at": post.created_at,
    }
