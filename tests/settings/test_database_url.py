"""DATABASE_URL: hosts and libpq's parameters, each followed or refused by its name."""

import pytest

from service.settings.database_url import Host, parse_database_url

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("url", "hosts", "text"),
    [
        ("postgresql://u:p@a/d", [Host("a")], "a:5432/d"),
        ("postgres://u@a:1,b,[::1]:3/d%20e", [Host("a", 1), Host("b"), Host("::1", 3)], None),
        ("postgresql://u@/d?host=a,b&port=1,2", [Host("a", 1), Host("b", 2)], "a:1,b:2/d"),
        ("postgresql://u@/d?host=a,b&port=6", [Host("a", 6), Host("b", 6)], "a:6,b:6/d"),
        ("postgresql://u@/d?host=/run/x", [Host("/run/x")], "/run/x:5432/d"),
        ("postgresql://%2Frun%2Fx/d", [Host("/run/x")], "/run/x:5432/d"),
        ("postgresql:///?dbname=d", [], "localhost:5432/d"),
        ("postgresql://u@/d?host=/cloudsql/p:r:i", [Host("/cloudsql/p:r:i")], None),
        ("postgresql://%2Fcloudsql%2Fp%3Ar%3Ai/d", [Host("/cloudsql/p:r:i")], None),
        ("postgresql://u@/d?host=/run/100%2525", [Host("/run/100%25")], None),
        ("postgresql://u@a:/d\n", [Host("a")], "a:5432/d"),
        ("postgresql+asyncpg://u:%40@[2001:db8::1]/d", [Host("2001:db8::1")], None),
    ],
)
def test_hosts_are_read_as_libpq_does(url: str, hosts: list[Host], text: str | None) -> None:
    address = parse_database_url(url)
    assert list(address.hosts) == hosts
    assert text in (None, str(address))


def test_driver_is_given_user_database_and_tls_alone() -> None:
    address = parse_database_url(
        "postgres://u:p%40@a,b/d?sslmode=verify-full&sslrootcert=/a%20b&connect_timeout=3"
        "&application_name=x&options=-c%20jit%3Doff&target_session_attrs=primary&gssencmode=prefer"
    )
    assert address.dsn == "postgresql://u:p%40@/d?sslmode=verify-full&sslrootcert=%2Fa%20b"
    assert address.number("connect_timeout") == 3
    assert address.parameters["options"] == "-c jit=off"


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgresql://u@h?dbname=d", "postgresql://u@?dbname=d"),
        ("postgresql://u@h", "postgresql://u@"),
        ("postgresql:///d?port=5433", "postgresql:///d?port=5433"),
    ],
)
def test_driver_looks_for_what_the_address_does_not_say_where_libpq_does(
    url: str, dsn: str
) -> None:
    assert parse_database_url(url).dsn == dsn


def test_address_s_representation_has_no_password() -> None:
    assert PASSWORD not in repr(parse_database_url(f"postgresql://u:{PASSWORD}@h/d"))


@pytest.mark.parametrize(
    "url", [f"postgresql://me:123/{PASSWORD}@h/d", f"postgresql://me:1?{PASSWORD}@h/d"]
)
def test_password_with_a_bare_slash_or_question_mark_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="is no address") as caught:
        parse_database_url(url)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("channel_binding=require", "channel_binding takes disable, prefer"),
        ("gssencmode=require", "gssencmode takes disable, prefer"),
        ("target_session_attrs=standby", "target_session_attrs takes any, primary, read-write"),
        ("sslmode=allways", "sslmode takes disable, allow"),
        ("connect_timeout=soon", "connect_timeout takes a whole number"),
        ("keepalives=1", "keepalives is the operating system's to set"),
        ("keepalives_idle=30", "keepalives_idle is the operating system's to set"),
        ("tcp_user_timeout=9000", "tcp_user_timeout is the operating system's to set"),
        ("pgbouncer=true", "there is no parameter pgbouncer: set DATABASE_PGBOUNCER=true"),
        ("connection_limit=5", "there is no parameter connection_limit: set DATABASE_POOL_SIZE"),
        ("sslrootcert=system&sslcert=a", "sslrootcert=system takes sslmode=verify-full"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system takes sslmode=verify-full"),
        ("jit=off", "there is no parameter jit: a setting of the server stands in options"),
        (f"{PASSWORD}-=1", "has a parameter that is none of libpq's"),
        (PASSWORD, "takes parameters as name=value"),
        ("host=a,,b", "takes hosts as host:port"),
        ("host=a,b&port=1,2,3", "port takes one number, or one for each host"),
        ("host=a&port=99999", "ports from 1 to 65535"),
    ],
)
def test_parameter_that_cannot_be_followed_is_refused_by_name(parameter: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words follow
        parse_database_url(f"postgresql://me:{PASSWORD}@/name?{parameter}")
    assert words in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("query", ["", "target_session_attrs=prefer-standby", "sslmode=require"])
def test_replica_is_always_a_standby(query: str) -> None:
    address = parse_database_url(f"postgresql://u@a,b/d?{query}", replica=True)
    assert address.parameters["target_session_attrs"] == "standby"


def test_replica_that_takes_writes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes any, prefer-standby, standby$"):
        parse_database_url("postgresql://u@a/d?target_session_attrs=read-write", replica=True)


@pytest.mark.parametrize(
    "url", ["//me:hunter2@ss@host/d", "//me:hun?ter2@host/d", "//me:hunter2#@host/d", "hunter2"]
)
def test_password_that_is_not_encoded_is_refused_unseen(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words follow
        parse_database_url(f"postgresql:{url}")
    assert "hun" not in str(caught.value)
