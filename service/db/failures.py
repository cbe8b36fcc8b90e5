"""What went wrong with the database, in words for an operator, without values and secrets."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from service.errors import Unavailable
from service.settings.database_url import Host

# What names a file in DATABASE_URL, and in the environment (libpq's names).
_TLS_FILES: Final = {
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
}
# What the driver says, without a type of its own, and what it means.
_DRIVER_WORDS: Final = {
    "rejected SSL upgrade": "the server offers no TLS",
    "during SSL exchange": "the server refuses it, and its log says why",
    "during TLS handshake": "the server closed the connection",
}
_OF_TLS: Final = re.compile(r"sslmode|sslnegotiation|TLS|SSL|root certificate")
_RIGHTS: Final = "42501"
# A table, a column, a function.
_UNDEFINED: Final = ("42P01", "42703", "42883")
# Of these SQLSTATEs and classes the message quotes no value of a statement.
_QUOTABLE: Final = ("08", "25", "28", "3D", "40", "53", "55", "57", _RIGHTS, *_UNDEFINED)
# What it means that a server refuses to be used, by SQLSTATE or its class.
_REFUSALS: Final = {
    "08": "the database does not answer",
    "28": "the database does not let its role connect from here",
    "28P01": "the database refuses the user or the password of DATABASE_URL",
    "3D000": "there is no such database as DATABASE_URL names",
    "53300": "the database has no connection left",
    "57014": "the database does not answer in time",
    "57P01": "the database is starting or stopping",
    "57P02": "the database is starting or stopping",
    "57P03": "the database is starting or stopping",
}
# What is sent while there is no primary, by servers and by PgBouncer: the classes and codes of
# connections, of starting and stopping, and of what a standby cannot do.
_NO_PRIMARY: Final = ("08", "55000", "57P01", "57P02", "57P03")
_DENIED: Final = re.compile("permission denied for (.+)")


class HostsUnavailable(OSError):
    """No host of several took the connection; `failures` holds the error of each."""

    def __init__(self, failures: Mapping[Host, BaseException]) -> None:
        super().__init__("no host of several took the connection")
        self.failures = failures


class TlsFileUnreadable(OSError):
    """A certificate or key that DATABASE_URL names cannot be read."""


@contextmanager
def naming_tls_files(dsn: str) -> Iterator[None]:
    """Raise TlsFileUnreadable naming the file, where the system's own error names none."""
    try:
        yield
    except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
        given = dict(parse_qsl(urlsplit(dsn).query))
        for name, variable in _TLS_FILES.items():
            path = given.get(name) or os.environ.get(variable)
            if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):  # noqa: PTH113
                raise TlsFileUnreadable(f"{name} can't be read: {path}") from error
        raise


def tls_fault(error: BaseException | None) -> str | None:
    """Return what is wrong with TLS, where that is why there is no connection; else None."""
    words = str(error)
    match error:
        case HostsUnavailable():
            faults = {str(host): tls_fault(each) for host, each in error.failures.items()}
            return _listed(faults) if all(faults.values()) else None
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return f"the handshake failed ({getattr(error, 'reason', None) or 'no details'})"
        case TlsFileUnreadable():
            return words
        case ConnectionError():
            return next((said for part, said in _DRIVER_WORDS.items() if part in words), None)
        # The driver's words name parameters and files, never the user and the password.
        case asyncpg.ClientConfigurationError() if _OF_TLS.search(words):
            return words.splitlines()[0]
    return None


def failure_reason(error: BaseException) -> str:
    """Return the cause of a failure for the log: its type, and words that quote no value."""
    error = _driver_error(error)
    if isinstance(error, HostsUnavailable):
        return _listed({str(h): failure_reason(each) for h, each in error.failures.items()})
    kind = type(error).__name__
    if fault := tls_fault(error):
        return f"{kind}: TLS fails: {fault}"
    match error:
        case asyncpg.TargetServerAttributeNotMatched():
            return f"{kind}: the server takes no writes"
        case asyncpg.PostgresError() if (error.sqlstate or "").startswith(_QUOTABLE):
            return f"{kind}: {_first_line(error)}"
        case OSError() if error.strerror:
            return f"{kind}: {error.strerror}"
        case Unavailable():  # not for what the driver raised
            return f"{kind}: {error.message}"
    return kind


def unusable_reason(error: BaseException) -> str:
    """Return why the database cannot be used, for everyone: without hosts, users and values."""
    error = _driver_error(error)
    if _takes_no_writes(error):
        return "no server of DATABASE_URL takes writes"
    if tls_fault(error):
        return "TLS with the database fails"
    match error:
        case HostsUnavailable():
            reasons = map(unusable_reason, error.failures.values())
            return next((each for each in reasons if each != _REFUSALS["08"]), _REFUSALS["08"])
        case asyncpg.PostgresError():
            return _refusal(error)
    return _REFUSALS["08"]


def is_answer(error: BaseException) -> bool:
    """Whether a failure proves that a server is there which works, and refused this alone."""
    error = _driver_error(error)
    if isinstance(error, HostsUnavailable):
        failures = error.failures.values()
        # Of several hosts a silent one may be the primary, and those that answer standbys.
        return any(map(is_answer, failures)) and all(
            is_answer(each) or _takes_no_writes(each) for each in failures
        )
    # The driver gives errors of its own a state, too, but no severity.
    if not isinstance(error, asyncpg.PostgresError) or error.severity is None:
        return False
    return not (error.sqlstate or "").startswith(_NO_PRIMARY)


def _refusal(error: asyncpg.PostgresError) -> str:
    """Return what the error of a server means that answered."""
    state = error.sqlstate or ""
    if state == _RIGHTS:
        denied = _DENIED.match(_first_line(error))
        return f"the database's role lacks rights{f' on {denied[1]}' if denied else ''}"
    if state in _UNDEFINED:
        return f"the database lacks what this code needs: {_first_line(error)}"
    meant = _REFUSALS.get(state) or _REFUSALS.get(state[:2])
    return meant or f"the database answers with an error (SQLSTATE {state})"


def _first_line(error: asyncpg.PostgresError) -> str:
    return str(error).partition("\n")[0]


def _takes_no_writes(error: BaseException) -> bool:
    """Whether a server answered, and there is no connection because it takes no writes."""
    error = _driver_error(error)
    if isinstance(error, HostsUnavailable):
        return any(_takes_no_writes(each) for each in error.failures.values())
    return isinstance(error, asyncpg.TargetServerAttributeNotMatched)


def _listed(reasons: Mapping[str, str | None]) -> str:
    return "; ".join(f"{host}: {reason}" for host, reason in reasons.items())


def _driver_error(error: BaseException) -> BaseException:
    """Return the driver's error in what SQLAlchemy or this service made of it."""
    while True:
        inner = getattr(getattr(error, "orig", None), "driver_exception", None)
        if inner is None and isinstance(error, Unavailable):
            inner = error.__cause__
        if not isinstance(inner, BaseException):
            return error
        error = inner
