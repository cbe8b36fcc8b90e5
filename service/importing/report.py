"""The report of what could not be taken: a JSON object to a line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

ID_SHOWN: Final = 100  # characters


class ReportError(Exception):
    """The report can't be written; the message is one sentence."""


class Report:
    """Writes one line for each refused row: its table, its id and the reason, no other value."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def refuse(self, table: str, stored_id: object, reason: str) -> None:
        """Write a refused row's line."""
        shown = stored_id if stored_id is None else str(stored_id)[:ID_SHOWN]
        line = json.dumps({"table": table, "id": shown, "reason": reason})
        self._file.write(line + "\n")


@contextmanager
def open_report(path: Path) -> Iterator[Report]:
    """Open a new report, which stays empty when nothing is refused. Raises ReportError."""
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ReportError(f"The report can't be written to {path}: {error.strerror}.") from error
    with file:
        yield Report(file)
