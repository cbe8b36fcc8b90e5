"""The form of API keys, which scanners for leaked secrets know."""

import re
import string
import zlib

from hypothesis import given
from hypothesis import strategies as st

from service.auth.api_keys import form

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
random_parts = st.text(ALPHABET, min_size=30, max_size=30)


def test_new_keys_have_the_form_that_scanners_search_for() -> None:
    keys = {form.new_key("svc") for _ in range(200)}
    assert len(keys) == 200
    assert all(re.fullmatch("svc_[0-9A-Za-z]{36}", key) for key in keys)
    assert all(form.is_key("svc", key) for key in keys)


def test_prefix_is_part_of_the_form() -> None:
    key = form.new_key("acme")
    assert re.fullmatch("acme_[0-9A-Za-z]{36}", key)
    assert form.is_key("acme", key)
    assert not form.is_key("svc", key)
    assert form.hint_of("acme", key) == f"acme_…{key[-4:]}"


@given(random_parts)
def test_checksum_is_the_crc_32_in_base_62_with_zeros_in_front(text: str) -> None:
    digits = form.checksum(text)
    assert len(digits) == 6
    number = 0
    for digit in digits:
        number = 62 * number + ALPHABET.index(digit)
    assert number == zlib.crc32(text.encode())
    assert form.is_key("svc", f"svc_{text}{digits}")


@given(random_parts, st.integers(0, 35), st.sampled_from(ALPHABET))
def test_key_with_one_wrong_character_is_none(text: str, place: int, character: str) -> None:
    right = text + form.checksum(text)
    wrong = right[:place] + character + right[place + 1 :]
    assert form.is_key("svc", f"svc_{wrong}") is (wrong == right)


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert not form.is_key("svc", f"svc_{text}") or re.fullmatch("[0-9A-Za-z]{36}", text)
    assert not form.is_key("svc", f"{form.new_key('svc')}{text}") or not text
