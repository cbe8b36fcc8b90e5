"""Codes by time: RFC 6238's, the tolerance, and the URI that an app reads."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from service.auth.second_factor.totp import (
    base32,
    find_step,
    make_code,
    new_secret,
    provisioning_uri,
    step_of,
)

SECRET = b"12345678901234567890"
# RFC 6238, appendix B, SHA-1: the last six of its eight digits, as RFC 4226 cuts them.
VECTORS = [
    (59, "287082"),
    (1_111_111_109, "081804"),
    (1_111_111_111, "050471"),
    (1_234_567_890, "005924"),
    (2_000_000_000, "279037"),
    (20_000_000_000, "353130"),
]
NOW = datetime(2026, 11, 29, 12, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_code_is_that_of_rfc_6238(seconds: int, code: str) -> None:
    assert make_code(SECRET, seconds // 30) == code
    assert find_step(SECRET, code, datetime.fromtimestamp(seconds, UTC)) == seconds // 30


def test_code_of_the_step_before_or_after_is_found_and_no_other() -> None:
    present = step_of(NOW)
    found = [find_step(SECRET, make_code(SECRET, present + away), NOW) for away in range(-3, 4)]
    assert found == [None, None, present - 1, present, present + 1, None, None]


def test_step_ends_after_thirty_seconds() -> None:
    start = datetime.fromtimestamp(step_of(NOW) * 30, UTC)
    assert step_of(start + timedelta(seconds=29.9)) == step_of(start)
    assert step_of(start + timedelta(seconds=30)) == step_of(start) + 1


@pytest.mark.parametrize(
    "code",
    [
        "\uff12\uff18\uff17\uff10\uff18\uff12",
        "28708²",
        "²⁸⁷⁰⁸²",
        "٢٨٧٠٨٢",
        "287082\n",
        " 287082",
        "87082",
        "0287082",
        "",
        "+87082",
    ],
)
def test_code_in_other_digits_or_of_another_form_is_no_step_s(code: str) -> None:
    assert find_step(SECRET, code, datetime.fromtimestamp(59, UTC)) is None


def test_secret_has_160_bits_and_is_new_each_time() -> None:
    assert len({new_secret() for _ in range(50)}) == 50
    assert {len(new_secret()) for _ in range(5)} == {20}
    assert len(base32(new_secret())) == 32


@pytest.mark.parametrize(
    ("issuer", "email"),
    [("example.com", "ada@example.com"), ("Büro & Söhne/1?", "a+b&c=d%41:ö@exämple.com")],
)
def test_uri_names_issuer_and_account_whatever_characters_they_have(
    issuer: str, email: str
) -> None:
    uri = provisioning_uri(SECRET, issuer, email)
    assert uri.isascii()
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    shown_issuer, _, shown_email = parts.path.removeprefix("/").partition(":")
    assert (unquote(shown_issuer), unquote(shown_email)) == (issuer, email)
    query = parse_qs(parts.query, strict_parsing=True)
    assert query == {"secret": [base32(SECRET)], "issuer": [issuer]}
