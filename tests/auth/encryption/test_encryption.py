"""Secrets at rest: they open for the account and the purpose they were encrypted for, alone."""

import hashlib
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from service.auth.encryption.encryption import Encryption, SecretUnreadable
from service.auth.encryption.encryption_keys import derived_key
from service.ids import new_id
from service.testing.application import make_settings
from tests.support.stored_secrets import NEW, OLD, encryption

SECRET = b"twenty bytes, secret"
ACCOUNT = new_id()


def refused(by: Encryption, stored: bytes, user_id: UUID = ACCOUNT, purpose: str = "totp") -> None:
    with pytest.raises(SecretUnreadable):
        by.decrypt(purpose, user_id, stored)


@pytest.mark.parametrize("secret", [SECRET, b"", bytes(5000)])
def test_secret_is_decrypted_again(secret: bytes) -> None:
    stored = encryption(OLD).encrypt("totp", ACCOUNT, secret)
    assert encryption(OLD).decrypt("totp", ACCOUNT, stored) == secret


def test_stored_are_the_id_of_the_key_a_nonce_and_the_text_with_its_tag() -> None:
    stored = encryption(OLD).encrypt("totp", ACCOUNT, SECRET)
    assert stored[:4] == hashlib.sha256(OLD).digest()[:4]
    assert len(stored) == 4 + 12 + len(SECRET) + 16
    assert SECRET not in stored
    again = encryption(OLD).encrypt("totp", ACCOUNT, SECRET)
    assert (again[:4], again[4:16] != stored[4:16]) == (stored[:4], True)


def test_secret_does_not_open_for_another_account() -> None:
    by = encryption(OLD)
    refused(by, by.encrypt("totp", ACCOUNT, SECRET), user_id=new_id())


def test_secret_does_not_open_for_another_purpose() -> None:
    by = encryption(OLD)
    for purpose in ("code", "", "totp2", "tot"):
        refused(by, by.encrypt("totp", ACCOUNT, SECRET), purpose=purpose)


def test_altered_secret_does_not_open_at_any_length() -> None:
    by = encryption(OLD)
    stored = by.encrypt("totp", ACCOUNT, SECRET)
    for end in range(len(stored)):
        refused(by, stored[:end])
    for place in range(len(stored)):
        refused(by, stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
    refused(by, stored + b"\0")


def test_first_key_encrypts_and_all_decrypt() -> None:
    before = encryption(OLD).encrypt("totp", ACCOUNT, SECRET)
    both = encryption(NEW, OLD)
    after = both.encrypt("totp", ACCOUNT, SECRET)
    assert both.decrypt("totp", ACCOUNT, before) == both.decrypt("totp", ACCOUNT, after) == SECRET
    assert encryption(NEW).decrypt("totp", ACCOUNT, after) == SECRET
    refused(encryption(NEW), before)
    refused(encryption(OLD), after)


def test_without_keys_one_is_derived_from_secret_key() -> None:
    settings = make_settings(secret_key="one")
    stored = encryption(secret_key="one").encrypt("totp", ACCOUNT, SECRET)
    assert encryption(derived_key(settings)).decrypt("totp", ACCOUNT, stored) == SECRET
    refused(encryption(secret_key="two"), stored)
    # Once keys are listed, no other is used.
    refused(encryption(NEW, secret_key="one"), stored)


@pytest.mark.parametrize(
    ("keys", "reason"), [([NEW], "its key is missing"), ([OLD], "the row was altered")]
)
def test_unreadable_secret_is_logged_with_its_account_and_without_itself(
    keys: list[bytes], reason: str
) -> None:
    stored = encryption(OLD).encrypt("totp", ACCOUNT, SECRET)[:-1]
    with capture_logs() as logged:
        refused(encryption(*keys), stored)
    assert logged == [
        {
            "event": "secret not decrypted", "log_level": "error", "purpose": "totp",
            "user_id": str(ACCOUNT), "key_id": stored[:4].hex(), "reason": reason,
        }
    ]  # fmt: skip


def test_unreadable_secret_answers_503_in_plain_words() -> None:
    with pytest.raises(SecretUnreadable) as caught:
        encryption(OLD).decrypt("totp", ACCOUNT, b"")
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "60"})
    assert caught.value.message.startswith("A secret of this account cannot be read")
