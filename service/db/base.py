"""The declarative base, and the column types that tables share."""

from typing import Any

from sqlalchemy import DateTime, MetaData, Row, Uuid
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """The declarative base: UTC times, and names that Alembic can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# A row whose columns its reader knows by name.
AnyRow = Row[*tuple[Any, ...]]

UtcDateTime = DateTime(timezone=True)
Id = Uuid(as_uuid=True)
