"""ENCRYPTION_KEYS: refused values are named without being shown."""

import os
from base64 import b64encode
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, load_settings
from tests.support import command

PRODUCTION = {name.upper(): value for name, value in command.PRODUCTION.items()} | {
    "DATABASE_URL": "postgresql://service@localhost/service"
}
ONE, TWO = (b64encode(bytes(range(start, start + 32))).decode() for start in (0, 32))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of our variables in the environment, and no file of settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "var"))


def keys_of(monkeypatch: pytest.MonkeyPatch, text: str, **others: str) -> list[str]:
    """The keys as they are read."""
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENCRYPTION_KEYS", text)
    return [key.get_secret_value() for key in load_settings().encryption_keys]


def test_encryption_keys_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys_of(monkeypatch, f" {ONE} ,{TWO}") == [ONE, TWO]


@pytest.mark.parametrize("others", [{}, PRODUCTION], ids=["development", "production"])
def test_empty_encryption_keys_count_as_unset(
    monkeypatch: pytest.MonkeyPatch, others: dict[str, str]
) -> None:
    assert keys_of(monkeypatch, "", **others) == []


@pytest.mark.parametrize(
    "text",
    [
        " ",
        ",",
        f"{ONE},",
        f",{ONE}",
        f"{ONE};{TWO}",
        f"{ONE} {TWO}",
        "hunter2",
        "é",
        ONE[:-1],
        b64encode(b"hunter2 of 31 bytes, one too few").decode()[:-4],
        b64encode(bytes(33)).decode(),
        b64encode(bytes(16)).decode(),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh-_",
    ],
)
def test_wrong_encryption_key_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        keys_of(monkeypatch, text)
    assert str(caught.value) == "ENCRYPTION_KEYS: takes keys of 32 bytes in base64, comma between"


def test_encryption_key_that_is_listed_twice_is_refused_in_any_spelling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The last character of base64 has bits that are not of the key.
    for again in (ONE, ONE.replace("8=", "9=")):
        with pytest.raises(SettingsError) as caught:
            keys_of(monkeypatch, f"{ONE},{TWO},{again}")
        assert str(caught.value) == "ENCRYPTION_KEYS: has the same key twice"


def test_encryption_key_that_is_not_random_is_refused_in_production(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weak = b64encode(b"password" * 4).decode()
    with pytest.raises(SettingsError, match=r"^ENCRYPTION_KEYS: must be random") as caught:
        keys_of(monkeypatch, f"{ONE},{weak}", **PRODUCTION)
    assert weak not in str(caught.value)
    assert keys_of(monkeypatch, ONE, **PRODUCTION) == [ONE]
    random = b64encode(os.urandom(32)).decode()
    assert keys_of(monkeypatch, random, **PRODUCTION) == [random]


def test_settings_are_shown_without_encryption_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", ONE)
    assert ONE not in repr(load_settings())
