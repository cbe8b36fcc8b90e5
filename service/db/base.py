"""The declarative base, and the column types that tables share."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from sqlalchemy import DateTime, MetaData, Row, String, Uuid
from sqlalchemy.orm import DeclarativeBase

from service.db.query import Record


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


# A row of any columns, by SQLAlchemy or by the driver; it meets every protocol of rows.
AnyRow = Row[*tuple[Any, ...]] | Record


class MappedRow(Protocol):
    """A row whose columns can be read by their names."""

    @property
    def _mapping(self) -> Mapping[Any, Any]: ...


UtcDateTime: Final = DateTime(timezone=True)
Id: Final = Uuid(as_uuid=True)
IpAddress: Final = String(45)  # the longest textual IPv6 address, one with an IPv4 tail
