"""DATABASE_URL: where the database is, and what libpq's parameters ask of a connection.

PostgreSQL's manual has the form and the parameters ("Connection URIs", "Parameter Key Words").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

DEFAULT_PORT: Final = 5432
_URL: Final = re.compile(
    r"[A-Za-z+]+://((?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(/(?P<name>[^?#@]*))?(\?(?P<query>[^#@]*))?"
)
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(:(?P<port>[0-9]{0,5}))?")
_HOSTS: Final = "takes hosts as host:port, commas between, with ports from 1 to 65535"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,62}")

# What the driver itself reads.
_BY_DRIVER: Final = frozenset(
    {"user", "password", "dbname", "database", "passfile", "service", "krbsrvname", "gsslib"}
    | {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
_BESIDE_SYSTEM: Final = frozenset({"sslmode", "sslrootcert", "sslnegotiation"})
_TEXTS: Final = frozenset({"application_name", "options"})
_NUMBERS: Final = frozenset({"connect_timeout"})
# The driver has no option for these.
_OF_THE_SYSTEM: Final = frozenset(
    {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
    | {"tcp_user_timeout"}
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "gsslib": ("gssapi", "sspi"),
    # The driver does neither; to prefer what it does not do is to go without.
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "target_session_attrs": ("any", "primary", "read-write"),
}
# A replica is always a standby: where there is none, the primary is read.
_REPLICA_CHOICES: Final = {**_CHOICES, "target_session_attrs": ("any", "prefer-standby", "standby")}
_WHY: Final[Mapping[str, str]] = {
    "channel_binding": "the driver binds no channel, and sslmode=verify-full names the server",
    "gssencmode": "the driver has no GSSAPI encryption, and sslmode encrypts",
    "target_session_attrs": "the service writes",
}
# Parameters of other programs, and what says the same here.
_ADVICE: Final[Mapping[str, str]] = {
    "pgbouncer": "DATABASE_PGBOUNCER=true",
    "schema": "DATABASE_SCHEMA",
    "currentSchema": "DATABASE_SCHEMA",
    "search_path": "DATABASE_SCHEMA",
    "connection_limit": "DATABASE_POOL_SIZE",
    "pool_size": "DATABASE_POOL_SIZE",
    "pool_timeout": "DATABASE_POOL_TIMEOUT",
    "statement_timeout": "DATABASE_STATEMENT_TIMEOUT",
    "command_timeout": "DATABASE_STATEMENT_TIMEOUT",
    "ssl": "sslmode",
}


class Host(NamedTuple):
    """A server's name or address, or the folder of its Unix socket; without a port the default."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        """Return it as people write it."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{self.port or DEFAULT_PORT}"

    @property
    def is_socket(self) -> bool:
        """Whether the server is on this machine, behind a Unix socket."""
        return self.name.startswith("/")


@dataclass(frozen=True)
class DatabaseAddress:
    """A database's hosts and name, and the parameters that the service itself follows.

    `dsn` holds the rest, as the driver reads it: user, password, database and TLS. Without hosts
    the driver looks where libpq does: PGHOST, the usual sockets, this machine.
    """

    dsn: str = field(repr=False)  # it may hold a password
    hosts: tuple[Host, ...]
    name: str
    parameters: Mapping[str, str]

    def __str__(self) -> str:
        """Return hosts and name for people, without user and password."""
        hosts = self.hosts or (Host("localhost"),)
        return f"{','.join(map(str, hosts))}/{self.name}"

    def number(self, parameter: str) -> int | None:
        """Return a parameter that is a number, or None where it is not given or 0 (no limit)."""
        return int(self.parameters.get(parameter, 0)) or None


def parse_database_url(url: str, *, replica: bool = False) -> DatabaseAddress:
    """Read DATABASE_URL, or DATABASE_REPLICA_URL, which leads to a standby.

    Raises ValueError, which names a parameter and never repeats a value.
    """
    # A secret that is mounted as a file often ends with a newline.
    match = _URL.fullmatch(url.strip())
    if not match:
        raise ValueError(
            "is no address: in user and password :/?#[]@ and % are written as %3A, %2F and so on"
        )
    given = _read_query(match["query"] or "")
    ports = given.pop("port", "")
    hosts = _read_hosts(match["hosts"], given.pop("host", ""), ports)
    for name, value in given.items():
        _check(name, value, _REPLICA_CHOICES if replica else _CHOICES)
    parameters = {name: value for name, value in given.items() if name not in _BY_DRIVER}
    if replica:
        parameters["target_session_attrs"] = "standby"
    # Certificates of the system's authorities: the driver has no such word for a file.
    if given.get("sslrootcert") == "system":
        _refuse_beside_system(given)
        parameters["sslrootcert"] = given.pop("sslrootcert")
    left = {name: value for name, value in given.items() if name in _BY_DRIVER}
    if ports and not hosts:
        _port(ports)
        left["port"] = ports
    query = urlencode(left, quote_via=quote)
    user = f"{match['user']}@" if match["user"] else ""
    # With an empty name the driver would look no further.
    path = f"/{match['name']}" if match["name"] else ""
    dsn = f"postgresql://{user}{path}{'?' if query else ''}{query}"
    name = unquote(match["name"] or given.get("dbname") or given.get("database", ""))
    return DatabaseAddress(dsn, hosts, name, parameters)


def _refuse_beside_system(given: Mapping[str, str]) -> None:
    """Raise ValueError for parameters of TLS that the system's authorities leave without effect."""
    lost = [name for name in given if name.startswith("ssl") and name not in _BESIDE_SYSTEM]
    if lost or given.get("sslmode", "verify-full") != "verify-full":
        raise ValueError(
            "sslrootcert=system takes sslmode=verify-full and no other parameter of TLS: name "
            "the file with the authorities instead"
        )


def _read_query(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:  # its message holds what was given
        raise ValueError("takes parameters as name=value, & between") from None


def _read_hosts(in_address: str, in_query: str, ports: str) -> tuple[Host, ...]:
    """Return the hosts of the address, else of `host`; `port` has one for all, or one for each."""
    # A comma that is percent-encoded belongs to a name.
    texts = [unquote(part) for part in in_address.split(",")] if in_address else []
    texts = texts or (in_query.split(",") if in_query else [])
    given: list[str | None] = [*ports.split(",")] if ports else [None]
    if len(given) == 1:
        given *= len(texts)
    if texts and len(given) != len(texts):
        raise ValueError("port takes one number, or one for each host")
    return tuple(_host(text, port) for text, port in zip(texts, given, strict=False))


def _host(text: str, port: str | None) -> Host:
    # A socket's folder may have a colon in its name, as Cloud SQL's have.
    if text.startswith("/"):
        return Host(text, _port(port))
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError(_HOSTS)
    return Host(match["name"].strip("[]"), _port(match["port"] or port))


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(_HOSTS)
    return int(text)


def _check(name: str, value: str, known: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ValueError for a parameter that would not be followed."""
    if choices := known.get(name):
        if value not in choices:
            why = f" ({_WHY[name]})" if name in _WHY and choices is _CHOICES[name] else ""
            raise ValueError(f"{name} takes {', '.join(choices)}{why}")
    elif name in _NUMBERS:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise ValueError(f"{name} takes a whole number of at least 0")
    elif name in _OF_THE_SYSTEM:
        raise ValueError(
            f"{name} is the operating system's to set (on Linux net.ipv4.tcp_keepalive_time, "
            "_intvl and _probes, net.ipv4.tcp_retries2)"
        )
    elif advice := _ADVICE.get(name):
        raise ValueError(f"there is no parameter {name}: set {advice}")
    elif name not in _BY_DRIVER | _TEXTS:
        # What looks otherwise may be part of a password.
        is_name = _NAME.fullmatch(name)
        raise ValueError(
            f"there is no parameter {name}: a setting of the server stands in options, as in "
            f"options=-c%20{name}%3Dvalue"
            if is_name
            else "has a parameter that is none of libpq's"
        )
