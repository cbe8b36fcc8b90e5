"""Posts, under /api/posts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from quart import Blueprint, Response
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.api_keys.scopes import Scope
from service.auth.guards import scope_required
from service.auth.principal import caller
from service.auth.rows import UserRow
from service.db.engine import connection_factory
from service.errors import Unavailable
from service.ids import new_id
from service.posts import creation, posts, queries, schemas, search
from service.posts.creation import KeyedCreation
from service.posts.posts import NotTheAuthor, PostContended, PostNotFound, RemovedByOperator
from service.posts.queries import Filters
from service.posts.rows import PostRow
from service.posts.schemas import PostOut, post_tag, show_post, tag_of
from service.posts.search_totals import TotalsCache
from service.posts.stream import PostStream
from service.web import idempotency, pagination, sse
from service.web.conditional import (
    AlreadyCurrent,
    EntityTag,
    preconditions,
    reads_preconditions,
    tagged,
    weak_tag,
)
from service.web.db_session import autocommit, db_session
from service.web.openapi import Link, answers, headers, reads_headers
from service.web.pagination import InvalidCursor, Position, Slice
from service.web.ratelimit import limit
from service.web.replica import replica_session
from service.web.request_state import request_state
from service.web.responses import Payload, dumps, json_bytes, json_response, no_content
from service.web.server.application import Service
from service.web.validation import validate_querystring, validate_request

blueprint: Final = Blueprint("posts", __name__, url_prefix="/api/posts")

CURSORS: Final = "posts"
PUBLIC: Final = {"Cache-Control": "no-cache"}
LIST_HEADERS: Final = (headers.ETAG, headers.LINK)
OWN_ERRORS: Final = (PostNotFound, NotTheAuthor)
CHANGE_ERRORS: Final = (*OWN_ERRORS, PostContended, AlreadyCurrent)
RESTORE_ERRORS: Final = (*OWN_ERRORS, RemovedByOperator)

NEXT_PAGE: Final = pagination.next_page("list_posts")
_CREATED: Final = {"post_id": "$response.body#/id"}
_CURRENT: Final = {"If-Match": "$response.header.ETag"}
CREATED_LINKS: Final = (
    Link("ReadPost", "read_post", "Reads the post.", _CREATED),
    Link("ChangePost", "change_post", "Changes this version of the post.", _CREATED | _CURRENT),
    Link("DeletePost", "delete_post", "Deletes this version of the post.", _CREATED | _CURRENT),
)
_DELETED: Final = {"post_id": "$request.path.post_id"}
RESTORE: Final = Link("RestorePost", "restore_post", "Shows the post again.", _DELETED)


@blueprint.get("")
@limit("READ")
@validate_querystring(schemas.PostQuery)
@reads_preconditions
@answers(
    200,
    schemas.PostPage,
    headers=LIST_HEADERS,
    links=[NEXT_PAGE],
    description="A page of posts.",
    errors=[InvalidCursor],
)
@answers(304, headers=[headers.ETAG], description="The list at hand is this one.")
async def list_posts(query_args: schemas.PostQuery) -> Response:
    """List posts, newest first: all, by author, or by words; by page or by cursor."""
    filters = Filters(query_args.author or None, query_args.q or None)
    after = pagination.position(CURSORS, query_args)
    if after is not None:
        return await _read_after(query_args, filters, after)
    page, total = await queries.read_page(
        replica_session(_caller_id),
        filters,
        request_state().app.component(TotalsCache),
        limit=query_args.per_page,
        offset=query_args.offset,
    )
    return _list_response(page, lambda: _show_page(query_args, page, total))


async def _read_after(query: schemas.PostQuery, filters: Filters, after: Position) -> Response:
    page = await queries.read_after(
        replica_session(_caller_id), filters, limit=query.per_page, after=after
    )
    return _list_response(page, lambda: _show_following(query, page))


@dataclass(frozen=True)
class _Content:
    """A list as it is sent."""

    body: bytes
    tag: EntityTag
    headers: Mapping[str, str]


def _list_response(page: Slice, show: Callable[[], _Content]) -> Response:
    # The links in it repeat the query as it was written.
    content = page.once(request_state().request.query_string, show)
    return tagged(json_bytes(content.body, headers=content.headers), content.tag)


def _show_page(query: schemas.PostQuery, page: Slice, total: int) -> _Content:
    next_cursor = page.next_cursor(CURSORS)
    counted = min(total, search.TOTAL_CAP) if query.q else total
    pages = pagination.count_pages(counted, query.per_page)
    totals = {"total": counted, "pages": pages, "current_page": query.page}
    if counted < total:
        totals["total_capped"] = True
    return _show_list(page, next_cursor, pagination.page_links(query, pages, next_cursor), totals)


def _show_following(query: schemas.PostQuery, page: Slice) -> _Content:
    next_cursor = page.next_cursor(CURSORS)
    return _show_list(page, next_cursor, pagination.cursor_links(query, next_cursor), {})


def _show_list(
    page: Slice, next_cursor: str | None, links: Mapping[str, str], totals: Payload
) -> _Content:
    posts = [show_post(row) for row in page.rows]
    body = dumps({"posts": posts, "next_cursor": next_cursor, **totals})
    return _Content(body, weak_tag(body), {**PUBLIC, **links})


@blueprint.post("")
@limit("CREATE")
@scope_required(Scope.POSTS_WRITE)
@validate_request(schemas.NewPost)
@reads_headers(headers.IDEMPOTENCY_KEY)
@answers(
    201,
    PostOut,
    headers=[headers.ETAG, headers.REPLAYED],
    links=CREATED_LINKS,
    errors=idempotency.ERRORS,
)
async def create_post(data: schemas.NewPost) -> Response:
    """Create a post; with an Idempotency-Key, once."""
    author_id = caller().user_id
    key = idempotency.read_key()
    if key is None:
        return _created(await creation.create_post(autocommit(), author_id, data))
    digest = idempotency.digest_of(data)
    wanted = _keyed_creation(caller().account, data, key, digest)
    stored = await creation.create_post_once(autocommit(), caller().account, wanted)
    if stored is not None:
        return Response(stored, 201, dict(wanted.headers))

    async def write(session: AsyncSession) -> Response:
        return _created(await creation.create_post_in(session, author_id, data))

    return await idempotency.once(db_session(), author_id, key, digest, write)


def _keyed_creation(
    author: UserRow, new: schemas.NewPost, key: str, digest: bytes
) -> KeyedCreation:
    post_id = new_id()
    headers = {
        "Content-Type": "application/json",
        "ETag": str(tag_of(1, author.username)),
        **_location(post_id),
    }
    return KeyedCreation(post_id, new, key, digest, headers)


def _created(post: PostRow) -> Response:
    return _show(post, 201, _location(post.id))


def _location(post_id: UUID) -> dict[str, str]:
    return {"Location": f"/api/posts/{post_id}"}


@blueprint.get("/stream")
@limit("STREAM")
@reads_headers(headers.LAST_EVENT_ID)
@answers(
    200,
    media_type="text/event-stream",
    headers=[headers.BUFFERING],
    description="Events `post.created`, `post.updated`, `post.restored` with the post as data, "
    "`post.deleted` with its id, and `reset`: reload, what was missed is no longer known. A "
    "post of more than 16 KiB is sent as it is at that time, and not once it has been deleted.",
    errors=[Unavailable],
)
async def stream_posts() -> Response:
    """Stream every change of posts as Server-Sent Events."""
    stream = request_state().app.component(PostStream)
    return await sse.event_stream(stream.open)


@blueprint.get("/<id:post_id>")
@limit("READ")
@reads_preconditions
@answers(200, PostOut, headers=[headers.ETAG], errors=[PostNotFound])
@answers(304, headers=[headers.ETAG], description="The post at hand is this one.")
async def read_post(post_id: UUID) -> Response:
    """Read a post."""
    return _show(await posts.read_post(replica_session(_caller_id), post_id), more=PUBLIC)


@blueprint.put("/<id:post_id>", endpoint="replace_post")
@blueprint.patch("/<id:post_id>")
@limit("WRITE")
@scope_required(Scope.POSTS_WRITE)
@validate_request(schemas.PostChange)
@reads_preconditions
@answers(200, PostOut, headers=[headers.ETAG], errors=CHANGE_ERRORS)
async def change_post(post_id: UUID, data: schemas.PostChange) -> Response:
    """Change one's own post."""
    conditions = preconditions()
    return _show(await posts.change_post(autocommit(), caller().user_id, post_id, data, conditions))


@blueprint.delete("/<id:post_id>")
@limit("WRITE")
@scope_required(Scope.POSTS_WRITE)
@reads_preconditions
@answers(204, links=[RESTORE], errors=CHANGE_ERRORS)
async def delete_post(post_id: UUID) -> Response:
    """Delete one's own post, which can be restored for a while."""
    await posts.delete_post(autocommit(), caller().user_id, post_id, preconditions())
    return no_content()


@blueprint.post("/<id:post_id>/restore")
@limit("WRITE")
@scope_required(Scope.POSTS_WRITE)
@answers(200, PostOut, headers=[headers.ETAG], errors=RESTORE_ERRORS)
async def restore_post(post_id: UUID) -> Response:
    """Restore one's own deleted post."""
    return _show(await posts.restore_post(autocommit(), caller().user_id, post_id))


def _caller_id() -> str | None:
    return caller().auth_id


def _show(post: PostRow, status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    return tagged(json_response(show_post(post), status, more), post_tag(post))


def init_app(app: Service) -> None:
    """Add the cache of totals, and the event stream, which ends when the shutdown begins."""
    settings = app.settings
    stream = PostStream(connection_factory(settings), pgbouncer=settings.database_pgbouncer)
    app.add_component(TotalsCache())
    app.add_component(stream)
    app.metrics.add_gauge("streams_open", "Event streams that are open.", lambda: stream.clients)
    app.metrics.add_gauge(
        "stream_lag_seconds",
        "Wait of the oldest event that an open transaction keeps back.",
        lambda: stream.lag,
    )
    app.shutdown_state.on_begin(stream.end)
    app.after_serving(stream.close)
