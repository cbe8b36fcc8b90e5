"""What proves that the primary is there: statements that it answers, and errors that it sends."""

from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import select, text

from service.db.database import Database
from service.db.errors import DatabaseUnavailable
from service.db.failures import HostsUnavailable, is_answer
from service.db.query import CompiledQuery
from service.errors import Unavailable
from service.settings import Settings
from service.settings.database_url import Host
from service.testing.application import make_settings

ONE, TWO = Host("one.example.com", 5432), Host("two.example.com", 5432)
STANDBY = asyncpg.TargetServerAttributeNotMatched("a standby")


def sent(state: str) -> asyncpg.PostgresError:
    """An error as the driver reads it from a server's message."""
    message = {"S": "FATAL", "V": "FATAL", "C": state, "M": "words"}
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(message)
    return error


ANSWERS = {
    "no connection left": sent("53300"),
    "statement took too long": sent("57014"),
    "wrong password": sent("28P01"),
    "none left, beside a standby": HostsUnavailable({ONE: sent("53300"), TWO: STANDBY}),
}
OTHERS = {
    "shutting down": sent("57P01"),
    "starting": sent("57P03"),
    "standby asked for its log": sent("55000"),
    "PgBouncer without a server": sent("08P01"),
    "connection lost": asyncpg.ConnectionDoesNotExistError("of the driver"),
    "silence": TimeoutError(),
    "nobody there": ConnectionRefusedError(),
    "full pool": Unavailable("The service is busy"),
    "none left, beside silence": HostsUnavailable({ONE: sent("53300"), TWO: TimeoutError()}),
    "starting, beside a standby": HostsUnavailable({ONE: sent("57P03"), TWO: STANDBY}),
}


@pytest.mark.parametrize("case", [*ANSWERS, *OTHERS])
def test_error_is_an_answer_only_if_a_working_primary_sent_it(case: str) -> None:
    error = (ANSWERS | OTHERS)[case]
    assert is_answer(error) is (case in ANSWERS)
    wrapped = DatabaseUnavailable()
    wrapped.__cause__ = error
    assert is_answer(wrapped) is (case in ANSWERS)


async def test_each_statement_that_the_database_answers_is_observed(settings: Settings) -> None:
    outcomes: list[Unavailable | None] = []
    database = Database(settings, lambda _, outcome: outcomes.append(outcome))
    query = CompiledQuery(select(text("1")))
    await database.autocommit.fetch_all(query, {})
    assert outcomes == [None]
    async with database.transaction() as session:
        await session.execute(query.statement)
    await database.read_session().execute(query.statement)
    assert outcomes == [None] * 3
    await database.close()


async def test_statement_that_finds_no_database_is_observed_with_its_reason(tmp_path: Path) -> None:
    outcomes: list[Unavailable | None] = []
    nowhere = make_settings(database_url="postgresql://me@127.0.0.1:1/name", data_dir=tmp_path)
    database = Database(nowhere, lambda _, outcome: outcomes.append(outcome))
    with pytest.raises(Unavailable):
        await database.autocommit.fetch_all(CompiledQuery(select(text("1"))), {})
    (outcome,) = outcomes
    assert isinstance(getattr(outcome, "__cause__", None), ConnectionRefusedError)
    await database.close()
