"""Every table in one place, for Alembic."""

from service.accounts.models import User
from service.posts.models import Post, PostCount

# Tables whose schema belongs to a library (none yet).
FOREIGN_TABLES: tuple[str, ...] = ("pgqueuer",)

__all__ = ["FOREIGN_TABLES", "Post", "PostCount", "User"]
