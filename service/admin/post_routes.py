"""Posts for operators, under /admin/posts."""

from typing import Final
from uuid import UUID

from quart import Blueprint, Response

from service.admin import posts
from service.admin.acting import confirm_operator
from service.admin.post_schemas import AnyPostList, AnyPostOut, PostQuery, show_any_post
from service.admin.posts import AuthorDeleted
from service.auth.guards import admin_required
from service.posts.posts import PostNotFound
from service.posts.schemas import PostOut, post_tag, show_post
from service.web.client import origin
from service.web.conditional import reads_preconditions, tagged, weak_tag
from service.web.db_session import db_session
from service.web.openapi import Link, answers
from service.web.openapi.headers import ETAG, LINK
from service.web.pagination import InvalidCursor, cursor_links, next_page, position
from service.web.ratelimit import limit
from service.web.responses import dumps, json_bytes, json_response, no_content
from service.web.validation import validate_querystring

blueprint: Final = Blueprint("admin_posts", __name__, url_prefix="/admin/posts")

CURSORS: Final = "admin_posts"

RESTORE_REMOVED: Final = Link(
    "RestorePost",
    "restore_removed_post",
    "Shows the post again.",
    {"post_id": "$request.path.post_id"},
)


@blueprint.get("")
@limit("ADMIN")
@admin_required
@validate_querystring(PostQuery)
@answers(
    200,
    AnyPostList,
    headers=[LINK],
    links=[next_page("list_posts_in_any_state")],
    errors=[InvalidCursor],
)
async def list_posts_in_any_state(query_args: PostQuery) -> Response:
    """List posts, also removed and deleted ones, newest first."""
    page = await posts.list_posts(db_session(), query_args, after=position(CURSORS, query_args))
    next_cursor = page.next_cursor(CURSORS)
    payload = {"posts": [show_any_post(row) for row in page.rows], "next_cursor": next_cursor}
    return json_response(payload, headers=cursor_links(query_args, next_cursor))


@blueprint.get("/<id:post_id>")
@limit("ADMIN")
@admin_required
@reads_preconditions
@answers(200, AnyPostOut, headers=[ETAG], errors=[PostNotFound])
@answers(304, headers=[ETAG], description="The post at hand is this one.")
async def read_post_in_any_state(post_id: UUID) -> Response:
    """Read a post, also a removed or deleted one."""
    post = await posts.read_post_in_any_state(db_session(), post_id)
    # Of the whole, because a removal or a restoration is no new version.
    body = dumps(show_any_post(post))
    return tagged(json_bytes(body), weak_tag(body))


@blueprint.delete("/<id:post_id>")
@limit("ADMIN")
@admin_required
@answers(204, links=[RESTORE_REMOVED], errors=[PostNotFound])
async def remove_post(post_id: UUID) -> Response:
    """Remove a post of any author; only operators restore it."""
    actor_id = await confirm_operator()
    await posts.remove_post(db_session(), actor_id, post_id, origin())
    return no_content()


@blueprint.post("/<id:post_id>/restore")
@limit("ADMIN")
@admin_required
@answers(200, PostOut, headers=[ETAG], errors=[PostNotFound, AuthorDeleted])
async def restore_removed_post(post_id: UUID) -> Response:
    """Restore a post that its author or an operator deleted.

    Posts of an account that was deleted stay hidden: 404, with a message that says so.
    """
    actor_id = await confirm_operator()
    post = await posts.restore_post(db_session(), actor_id, post_id, origin())
    return tagged(json_response(show_post(post)), post_tag(post))
