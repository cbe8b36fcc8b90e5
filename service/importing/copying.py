"""Copying a table in batches: read, check, write what is missing, report what can't be taken."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from service.importing.destination import Destination, Outcome
from service.importing.report import Report
from service.importing.rows import OldPost, OldUser, Refused, Row, read
from service.importing.source import TABLES, Record, Source

# A batch: what one transaction writes, and what is in memory at once.
BATCH_ROWS: Final = 5_000
BATCH_CHARACTERS: Final = 4_000_000


@dataclass(frozen=True)
class Tally:
    """What became of rows, in numbers."""

    read: int = 0
    added: int = 0
    refused: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.read + other.read, self.added + other.added, self.refused + other.refused)

    @property
    def present(self) -> int:
        """How many were here already."""
        return self.read - self.added - self.refused


def copy_users(source: Source, destination: Destination, report: Report) -> AsyncIterator[Tally]:
    """Copy the accounts; yields each batch's tally. Raises SourceError."""
    return _copy("users", OldUser, destination.add_users, source, report)


def copy_posts(source: Source, destination: Destination, report: Report) -> AsyncIterator[Tally]:
    """Copy the posts, after the accounts; yields each batch's tally. Raises SourceError."""
    return _copy("posts", OldPost, destination.add_posts, source, report)


async def _copy(
    table: str,
    model: type[Row],
    add: Callable[[list[Row]], Awaitable[Outcome]],
    source: Source,
    report: Report,
) -> AsyncIterator[Tally]:
    async for records in _batches(source.records(table)):
        rows, refused = [], 0
        for record in records:
            try:
                rows.append(read(model, TABLES[table], record))
            except Refused as refusal:
                refused += 1
                report.refuse(table, record[0], str(refusal))
        outcome = await add(rows)
        for row_id, reason in outcome.refused.items():
            report.refuse(table, row_id, reason)
        yield Tally(len(records), outcome.added, refused + len(outcome.refused))


async def _batches(records: AsyncIterator[Record]) -> AsyncIterator[list[Record]]:
    batch: list[Record] = []
    characters = 0
    async for record in records:
        batch.append(record)
        characters += sum([len(value) for value in record if isinstance(value, str | bytes)])
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
