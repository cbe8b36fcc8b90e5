"""Pages of a list."""

import math
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, Field

PER_PAGE_MAX: Final = 100
PAGE_MAX: Final = 1_000_000


def _digits(value: object) -> object:
    # Stricter than pydantic's integers, which also take "+1", "1.0" and "1_000".
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise ValueError("must be a positive integer")
    return value


class PageQuery(BaseModel):
    """Which page of a list."""

    page: Annotated[int, Field(ge=1, le=PAGE_MAX), BeforeValidator(_digits)] = 1
    per_page: Annotated[int, Field(ge=1, le=PER_PAGE_MAX), BeforeValidator(_digits)] = 20

    @property
    def offset(self) -> int:
        """How many rows come before the page."""
        return (self.page - 1) * self.per_page


def count_pages(total: int, per_page: int) -> int:
    """How many pages hold that many rows."""
    return math.ceil(total / per_page)
