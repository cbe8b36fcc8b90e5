"""Encryption keys are changed step by step (docs/operations.md), and no process is left behind."""

from itertools import pairwise

import pytest

from service.auth.encryption.encryption_keys import derived_key
from service.ids import new_id
from service.testing.application import make_settings
from tests.support.stored_secrets import NEW, encryption

MADE = derived_key(make_settings())
STEPS = ((), (MADE,), (MADE, NEW), (NEW, MADE), (NEW,))


@pytest.mark.parametrize("steps", list(pairwise(STEPS)))
def test_processes_before_and_after_a_step_read_one_another_s_secrets(
    steps: tuple[tuple[bytes, ...], tuple[bytes, ...]],
) -> None:
    processes = [encryption(*keys) for keys in steps]
    account = new_id()
    for writer in processes:
        stored = writer.encrypt("totp", account, b"secret")
        assert [reader.decrypt("totp", account, stored) for reader in processes] == [b"secret"] * 2


def test_secret_key_may_change_once_the_key_made_from_it_is_listed() -> None:
    account = new_id()
    stored = encryption().encrypt("totp", account, b"secret")
    after = encryption(MADE, secret_key="another")
    assert after.decrypt("totp", account, stored) == b"secret"
