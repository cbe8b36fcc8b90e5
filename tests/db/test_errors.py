"""Which failures of the database pass by themselves."""

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.db.errors import to_unavailable, violated_constraint
from service.errors import NotFound, Unavailable


class DriverError(Exception):
    """What SQLAlchemy wraps: an error with a SQLSTATE."""

    def __init__(self, sqlstate: str | None, driver_exception: Exception | None = None) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate
        self.driver_exception = driver_exception


def failed(sqlstate: str | None, driver_exception: Exception | None = None) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, DriverError(sqlstate, driver_exception))


@pytest.mark.parametrize(
    "sqlstate", ["08006", "53300", "57014", "57P01", "25006", "40001", "40P01", "55P03"]
)
def test_transient_database_error_is_503(sqlstate: str) -> None:
    assert to_unavailable(failed(sqlstate)) is not None


@pytest.mark.parametrize("sqlstate", ["22021", "23505", "42P01", "XX000", "", None])
def test_lasting_database_error_is_not_503(sqlstate: str | None) -> None:
    assert to_unavailable(failed(sqlstate)) is None


@pytest.mark.parametrize("lost", [ConnectionResetError(), TimeoutError()])
def test_lost_connection_is_503(lost: Exception) -> None:
    assert to_unavailable(failed(None, lost)) is not None


def test_full_pool_is_503() -> None:
    assert to_unavailable(PoolTimeoutError()) is not None


def test_service_errors_stay_what_they_are() -> None:
    error = Unavailable()
    assert to_unavailable(error) is error
    assert to_unavailable(NotFound()) is None


def test_violation_without_a_constraint_name_has_none() -> None:
    assert violated_constraint(IntegrityError("", {}, DriverError("23505"))) is None
