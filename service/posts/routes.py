"""Posts, under /api/posts."""

from typing import Final
from uuid import UUID

from quart import Blueprint, Response
from quart_schema import validate_querystring, validate_request

from service.auth.principal import caller, login_required
from service.posts import posts, queries
from service.posts.posts import NotTheAuthor, PostNotFound
from service.posts.schemas import NewPost, PostChange, PostOut, PostPage, show_post
from service.web.json import json_response, no_content
from service.web.openapi import answers
from service.web.pagination import PageQuery, count_pages
from service.web.transaction import session

blueprint: Final = Blueprint("posts", __name__, url_prefix="/api/posts")


@blueprint.get("")
@validate_querystring(PageQuery)
@answers(200, PostPage)
async def list_posts(query_args: PageQuery) -> Response:
    """List posts, newest first."""
    rows, total = await queries.read_page(
        session(), limit=query_args.per_page, offset=query_args.offset
    )
    return json_response(
        {
            "posts": [show_post(row) for row in rows],
            "total": total,
            "pages": count_pages(total, query_args.per_page),
            "current_page": query_args.page,
        }
    )


@blueprint.post("")
@login_required
@validate_request(NewPost)
@answers(201, PostOut)
async def create_post(data: NewPost) -> Response:
    """Write a post."""
    post = await posts.create_post(session(), caller().user_id, data)
    return json_response(show_post(post), 201, {"Location": f"/api/posts/{post.id}"})


@blueprint.get("/<id:post_id>")
@answers(200, PostOut, errors=[PostNotFound])
async def read_post(post_id: UUID) -> Response:
    """Read a post."""
    return json_response(show_post(await posts.read_post(session(), post_id)))


@blueprint.put("/<id:post_id>")
@login_required
@validate_request(PostChange)
@answers(200, PostOut, errors=[PostNotFound, NotTheAuthor])
async def change_post(post_id: UUID, data: PostChange) -> Response:
    """Change the title or the content of one's own post."""
    return json_response(
        show_post(await posts.change_post(session(), caller().user_id, post_id, data))
    )


@blueprint.delete("/<id:post_id>")
@login_required
@answers(204, errors=[PostNotFound, NotTheAuthor])
async def delete_post(post_id: UUID) -> Response:
    """Delete one's own post."""
    await posts.delete_post(session(), caller().user_id, post_id)
    return no_content()
