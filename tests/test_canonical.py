# ruff: noqa: RUF001
"""The keys of emails and usernames, and the normal form of passwords."""

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.canonical import KEY_MAX, email_key, normalize_password, username_key

SAME_EMAIL = {
    "ida@example.com": [
        "IDA@EXAMPLE.COM", "ida@ｅxample.com", "ida@ⓔⓧⓐⓜⓟⓛⓔ.com", "ida@𝐞xample.com",
        "ida@example。com", "ida@example．com", "ida@example｡com", "ida@exam\u00adple.com",
        "ｉda@example.com", "ⓘⒹⓐ@example.com",
    ],
    "ida@xn--exmple-cua.de": [
        "ida@exämple.de", "ida@exa\u0308mple.de", "IDA@EXÄMPLE.DE", "ida@XN--EXMPLE-CUA.DE",
    ],
    "ida@xn--fa-hia.de": ["ida@faß.de", "ida@FAẞ.de"],
    "ida@xn--n3h.net": ["ida@☃.net"],
    "οδοσ@example.com": ["ΟΔΟΣ@example.com", "οδος@example.com"],
    "äda@example.com": ["ÄDA@example.com", "A\u0308DA@example.com"],
    "strasse@example.com": ["Straße@example.com", "STRAẞE@example.com", "ſtraſſe@example.com"],
    "i̇zel@example.com": ["İzel@example.com"],
    "fi@example.com": ["ﬁ@example.com"],
    "ida@a_b.com": ["ida@A_B.com", "ida@ａ_b.com"],
    "": [""],
    "not an address": ["NOT AN ADDRESS"],
}  # fmt: skip
OTHER_EMAIL = [
    ("ida@faß.de", "ida@fass.de"),
    ("izel@example.com", "İzel@example.com"),
    ("ısparta@example.com", "isparta@example.com"),
    ("i.da@example.com", "ida@example.com"),
    ("ida+tag@example.com", "ida@example.com"),
]


@pytest.mark.parametrize(("key", "spellings"), SAME_EMAIL.items())
def test_spellings_of_one_email_have_one_key(key: str, spellings: list[str]) -> None:
    assert {email_key(text) for text in (key, *spellings)} == {key}


@pytest.mark.parametrize(("one", "other"), OTHER_EMAIL)
def test_different_emails_have_different_keys(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


@given(st.text(max_size=300))
def test_every_text_has_a_bounded_key_that_is_its_own_key(text: str) -> None:
    for key_of in (email_key, username_key):
        key = key_of(text)
        assert len(key.encode()) <= KEY_MAX
        assert key_of(key) == key
        assert key_of(unicodedata.normalize("NFD", text)) == key


@pytest.mark.parametrize("text", ["\udc80@\udc80", "ﷺ" * 1_000, "a@" + "ﷺ" * 1_000, "@" * 1_024])
def test_key_of_a_hostile_text_is_bounded(text: str) -> None:
    assert len(email_key(text).encode(errors="surrogatepass")) <= KEY_MAX


@pytest.mark.parametrize("username", ["IRENE", "irene", "Irene"])
def test_username_key_is_in_lower_case(username: str) -> None:
    assert username_key(username) == "irene"


@pytest.mark.parametrize("typed", ["pässwörd", "pa\u0308sswo\u0308rd"])
def test_password_is_compared_in_nfc(typed: str) -> None:
    assert normalize_password(typed) == "pässwörd"


def test_password_keeps_case_and_compatibility_letters() -> None:
    assert normalize_password("Ｐａｓs ﬁ") == "Ｐａｓs ﬁ"


def test_every_space_of_a_password_is_one_space() -> None:
    assert normalize_password("a\u00a0b\u3000c") == "a b c"


@pytest.mark.parametrize("function", [email_key, username_key, normalize_password])
def test_time_for_a_run_of_combining_marks_is_bounded(function: Callable[[str], str]) -> None:
    start = time.process_time()
    function("a" + "\u0301\u0316" * 250_000)
    assert time.process_time() - start < 1
