"""The tables of posts, of their counts and of their events."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, UtcDateTime

TITLE_MAX = 200
CONTENT_MAX = 100_000
_VISIBLE = text("deleted_at IS NULL")
_DELETED = text("deleted_at IS NOT NULL")


class Post(Base):
    """A post, which is hidden from every read when it is deleted, until it is removed."""

    __tablename__ = "posts"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    author_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(TITLE_MAX))
    content: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Only an operator restores what an operator deleted.
    deleted_by_operator: Mapped[bool] = mapped_column(server_default=text("false"))
    # The words of title and content, in the language that the migration was run with.
    search: Mapped[str] = mapped_column(
        TSVECTOR, Computed("post_words(title, content)", persisted=True), deferred=True
    )

    __table_args__ = (
        # Newest first, and by id at the same time. Without deleted posts, which reads skip.
        Index("ix_posts_newest", created_at.desc(), id.desc(), postgresql_where=_VISIBLE),
        Index(
            "ix_posts_author_newest",
            author_id,
            created_at.desc(),
            id.desc(),
            postgresql_where=_VISIBLE,
        ),
        Index("ix_posts_search", search, postgresql_using="gin", postgresql_where=_VISIBLE),
        # Serves the cascade from users, hidden posts included.
        Index("ix_posts_author_id", author_id),
        Index("ix_posts_deleted_at", deleted_at, postgresql_where=deleted_at.is_not(None)),
        # Newest first, and by words, of what operators removed and of what authors deleted.
        Index(
            "ix_posts_deleted_newest",
            deleted_by_operator,
            created_at.desc(),
            id.desc(),
            postgresql_where=_DELETED,
        ),
        Index("ix_posts_deleted_search", search, postgresql_using="gin", postgresql_where=_DELETED),
    )


class HiddenAuthor(Base):
    """A deleted account whose posts no read shows, while a job sets the `deleted_at` of each.

    As long as that takes, PostCount and AuthorPostCount still count those that are left.
    """

    __tablename__ = "hidden_authors"

    author_id: Mapped[UUID] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    hidden_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PostCount(Base):
    """The number of posts without `deleted_at`, in slots so that writers rarely wait for one row.

    Triggers keep it exact: each transaction adds to the slot of its own connection, and the total
    is the sum of all slots. `losses`, which only grows, counts how often such a post was hidden,
    removed, or given other words or another author.
    """

    __tablename__ = "post_counts"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    posts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    losses: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class AuthorPostCount(Base):
    """The number of an author's posts without `deleted_at`, in slots like PostCount."""

    __tablename__ = "author_post_counts"

    author_id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    posts: Mapped[int] = mapped_column(BigInteger)


class PostEvent(Base):
    """An outbox event of a post, which a trigger writes in the transaction of the change.

    Events are read in the order of (horizon, id), and only those with a horizon below every running
    transaction, so that whatever is committed later comes after them.
    """

    __tablename__ = "post_events"

    horizon: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    post_id: Mapped[UUID | None] = mapped_column(Id)
    # The post as the API shows it, by post_as_json(); null for a deleted one, and over 16 KiB: then
    # the stream reads the post as it is when it sends the event.
    data: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.clock_timestamp())


class PostEventsCluster(Base):
    """The database cluster that the events belong to: one row (service/db/cluster.py).

    `system_identifier` is PostgreSQL's, null where the role may not ask for it.
    """

    __tablename__ = "post_events_cluster"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(
        SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")
    )
    system_identifier: Mapped[int | None] = mapped_column(BigInteger)
