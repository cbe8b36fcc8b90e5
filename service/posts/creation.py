"""Creation of posts: one statement for all that arrive while a connection is waited for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    String,
    Table,
    Text,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.auth.rows import UserRow
from service.db.autocommit import Autocommit
from service.db.base import Id
from service.db.query import CompiledWrite, KeyedStatement, sent_as_text
from service.errors import TokenRefused
from service.ids import new_id
from service.posts.models import Post
from service.posts.queries import SHOWN, author_name
from service.posts.rows import PostRow
from service.posts.schemas import NewPost
from service.web import idempotency

_table: Final = cast(Table, Post.__table__)
_posts: Final = _table.c
_users: Final = User.__table__.c
_NAMES: Final = tuple(NewPost.model_fields)


class _Creation(NamedTuple):
    """A post to be created."""

    post_id: UUID
    author_id: UUID
    new: NewPost


class _Insert(KeyedStatement[_Creation]):
    """The INSERT of many posts, of which those of deleted authors are left out.

    With `skip_locked` so are those of authors whose account is being changed: nobody waits for it,
    and no two statements for each other.
    """

    compiled: CompiledWrite

    def __init__(self, *, skip_locked: bool) -> None:
        super().__init__()
        sent = func.unnest(
            sent_as_text("post_ids", Id),
            sent_as_text("author_ids", Id),
            *(_sent(f"new_{name}", _posts[name]) for name in _NAMES),
        )
        new = sent.table_valued("id", "author_id", *_NAMES).render_derived("new")
        # The author's account is locked, because its deletion hides its posts and would miss this
        # one. LIMIT has each looked up by the index, as in KeyedQuery.
        author = (
            select(_users.id)
            .where(_users.id == new.c.author_id, _users.deleted_at.is_(None))
            .limit(literal_column("1"))
            .with_for_update(read=True, key_share=True, skip_locked=skip_locked)
            .lateral("author")
        )
        rows = select(new.c.id, author.c.id, *(new.c[name] for name in _NAMES))
        statement = insert(_table).from_select(
            ["id", "author_id", *_NAMES], rows.join_from(new, author, true())
        )
        # As text, because SQLAlchemy would join the table to the subquery of RETURNING once more.
        inserted: ColumnElement[UUID] = literal_column("posts.author_id", Id)
        self.compiled = CompiledWrite(
            statement.returning(*SHOWN, author_name(inserted), _posts.id.label("key"))
        )

    def values(self, items: Sequence[_Creation]) -> Mapping[str, Any]:
        """Return the parameters of the statement."""
        columns = {f"new_{name}": [getattr(item.new, name) for item in items] for name in _NAMES}
        return {
            "post_ids": [item.post_id.hex for item in items],
            "author_ids": [item.author_id.hex for item in items],
            **columns,
        }

    def key_of(self, item: _Creation) -> UUID:
        """Return the id of the post."""
        return item.post_id

    def characters(self, item: _Creation) -> int:
        """Return the length of its text."""
        return sum(len(value) for _, value in item.new if isinstance(value, str))


def _sent(name: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
    # The driver asks each new connection what an array of VARCHAR is, but not one of TEXT.
    kind = Text() if isinstance(column.type, String) else column.type
    return select(bindparam(name, type_=ARRAY(kind))).scalar_subquery()


_SHARED: Final = _Insert(skip_locked=True)
_ALONE: Final = _Insert(skip_locked=False)


async def create_post(db: Autocommit, author_id: UUID, new: NewPost) -> PostRow:
    """Create a post, committed at the return.

    Raises TokenRefused when the author's account has been deleted.
    """
    creation = _Creation(new_id(), author_id, new)
    post = await db.write_shared(_SHARED, creation)
    if post is None:
        post = await db.write(_ALONE.compiled, _ALONE.values([creation]))
    if post is None:
        raise TokenRefused
    return post


async def create_post_in(session: AsyncSession, author_id: UUID, new: NewPost) -> PostRow:
    """Create a post in a session's transaction, which commits it.

    Raises TokenRefused when the author's account has been deleted.
    """
    values = _ALONE.values([_Creation(new_id(), author_id, new)])
    post = (await session.execute(_ALONE.compiled.statement, values)).one_or_none()
    if post is None:
        raise TokenRefused
    return post


def _insert_once() -> CompiledWrite:
    # The stored ETag has the author's name, which may have changed since it was read.
    author = (
        select(_users.id)
        .where(idempotency.LOCKED.c.held, _users.id == bindparam("caller_id", type_=Id))
        .where(_users.username == bindparam("username"), _users.deleted_at.is_(None))
        .where(~idempotency.KNOWN)
        .with_for_update(read=True, key_share=True, of=User)
        .cte("author")
    )
    sent = (bindparam(f"new_{name}", type_=_posts[name].type) for name in _NAMES)
    rows = select(bindparam("post_id", type_=Id), author.c.id, *sent)
    created = insert(_table).from_select(["id", "author_id", *_NAMES], rows)
    post = created.returning(literal_column("posts").label("post")).cte("created")
    body = func.convert_to(literal_column("(SELECT post_as_json(created.post))"), "UTF8")
    stored = idempotency.stored(post, body)
    return CompiledWrite(select(stored.c.body))


_INSERT_ONCE: Final = _insert_once()


@dataclass(frozen=True, slots=True)
class KeyedCreation:
    """A post to be created once for an Idempotency-Key, and the headers that answer it."""

    post_id: UUID
    new: NewPost
    key: str
    digest: bytes
    headers: Mapping[str, str]


async def create_post_once(db: Autocommit, author: UserRow, wanted: KeyedCreation) -> bytes | None:
    """Create a post for a key that was not used before, and return it as stored JSON.

    Returns None, and does nothing, where the key may have been used or the author changed.
    """
    values = {
        "post_id": wanted.post_id,
        "username": author.username,
        **{f"new_{name}": value for name, value in wanted.new},
        **idempotency.claim(author.id, wanted.key, wanted.digest, wanted.headers),
    }
    try:
        row = await db.write(_INSERT_ONCE, values)
    except asyncpg.UniqueViolationError:
        return None
    return None if row is None else row.body
