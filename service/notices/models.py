"""The table that counts the notices of an account."""

from datetime import date
from uuid import UUID

from sqlalchemy import Date
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id


class NoticeCount(Base):
    """How many notices an account got on a day, in UTC."""

    __tablename__ = "notice_counts"

    # Without a foreign key: this room knows no accounts, and the rows are deleted after days.
    user_id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    notices: Mapped[int]
