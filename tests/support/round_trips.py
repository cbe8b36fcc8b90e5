"""Counting the round trips between the application and its database."""

import asyncio
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class Trips:
    """What the application sends to PostgreSQL, the driver's own BEGIN and COMMIT included."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.sent: list[str] = []
        event.listen(engine.sync_engine, "checkout", self._watch)
        event.listen(engine.sync_engine, "before_cursor_execute", self._note_statement)

    async def during(self, request: Any) -> list[str]:
        """The first word of each statement that a successful request sends, sorted."""
        self.sent.clear()
        answer = await request
        assert answer.status < 400, answer.body
        # asyncpg tells its loggers in the loop's next turn.
        await asyncio.sleep(0)
        return sorted(self.sent)

    def _watch(self, connection: Any, *_: object) -> None:
        # Prepared statements do not come here: those SQLAlchemy tells.
        connection.driver_connection.add_query_logger(self._note_query)

    def _note_query(self, record: Any) -> None:
        self._note(record.query)

    def _note_statement(self, _connection: Any, _cursor: Any, statement: str, *_: object) -> None:
        self._note(statement)

    def _note(self, statement: str) -> None:
        self.sent.append(statement.split()[0].rstrip(";"))
