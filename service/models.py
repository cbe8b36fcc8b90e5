"""Every table in one place, for Alembic."""

from service.accounts.models import MailLink, User
from service.audit.models import SecurityEvent
from service.auth.models import LoginSession
from service.posts.models import AuthorPostCount, Post, PostCount, PostEvent
from service.web.models import IdempotencyKey

# Tables whose schema belongs to a library.
FOREIGN_TABLES: tuple[str, ...] = ("pgqueuer",)

__all__ = [
    "FOREIGN_TABLES",
    "AuthorPostCount",
    "IdempotencyKey",
    "LoginSession",
    "MailLink",
    "Post",
    "PostCount",
    "PostEvent",
    "SecurityEvent",
    "User",
]
