"""The settings, as `service doctor` finds them."""

from pathlib import Path

import pytest

from service.doctor import configuration
from service.doctor.findings import Status
from service.testing.application import make_settings
from tests.support.command import FROM_OUTSIDE, PRODUCTION
from tests.support.doctor import Found, look

SECRET = "hunter2-is-a-secret"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def set_all(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name.upper(), str(value))


def test_right_settings_are_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, database_pool_size=7)
    loaded = configuration.load()
    assert (loaded.listed, loaded.wrong) == ([], frozenset())
    assert loaded.settings is not None
    assert loaded.settings.database_pool_size == 7


def test_each_wrong_setting_is_a_finding_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {"database_pool_size": 0, "ratelimit_read": "many", "database_url": f"x:{SECRET}"}
    set_all(monkeypatch, **wrong, jwt_issuer="mine", external_acme_issuer="https://acme.example")
    loaded = configuration.load()
    names = {*map(str.upper, wrong), "EXTERNAL_ACME_CLIENT_ID"}
    assert loaded.wrong == names
    assert {each.message.partition(": ")[0] for each in loaded.listed} == names
    assert {each.status for each in loaded.listed} == {Status.PROBLEM}
    assert SECRET not in str(loaded.listed)
    assert loaded.settings is not None
    assert (loaded.settings.database_pool_size, loaded.settings.jwt_issuer) == (10, "mine")


def test_what_production_lacks_is_named_and_the_rest_is_still_production(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, service_env="production", secret_key="changeme")
    loaded = configuration.load()
    assert loaded.wrong == {"DATABASE_URL", "SECRET_KEY", "SMTP_URL", "MAIL_FROM", "PUBLIC_URL"}
    assert loaded.settings is not None
    assert loaded.settings.production


def test_a_folder_that_takes_no_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    set_all(monkeypatch, data_dir=tmp_path / "file")
    loaded = configuration.load()
    assert loaded.wrong == {"DATA_DIR"}
    assert loaded.settings is not None


def test_without_readable_settings_nothing_else_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    loaded = configuration.load()
    assert loaded.settings is None
    assert [each.message.startswith(".env: ") for each in loaded.listed] == [True]


async def weak_spots(**settings: object) -> Found:
    given = {**PRODUCTION, "database_url": "postgresql://db/service", "trusted_proxies": 1}
    given |= {"smtp_url": "smtp://mail", "redis_url": "redis://cache", **settings}
    return await look(configuration.check, make_settings(**given))


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("public_url", "http://service.example.com", "PUBLIC_URL has no https"),
        ("ratelimit_enabled", False, "RATELIMIT_ENABLED is false"),
        ("redis_url", None, "REDIS_URL is unset"),
        ("smtp_url", "log:", "SMTP_URL is log:"),
        ("trusted_proxies", 0, "TRUSTED_PROXIES is 0"),
    ],
)
async def test_a_weak_spot_of_production_is_a_warning(
    setting: str, value: object, words: str
) -> None:
    assert (await weak_spots(ratelimit_enabled=True)).is_well
    found = await weak_spots(**{"ratelimit_enabled": True, setting: value})
    assert words.removesuffix(":") in found["warning"]
    assert not found["problem"]


async def test_a_wrong_setting_is_no_weak_spot_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, service_env="production", secret_key="changeme")
    loaded = configuration.load()
    assert loaded.settings is not None
    found = await look(configuration.check, loaded.settings, *loaded.wrong)
    assert "PUBLIC_URL" not in found["warning"]
    assert "SMTP_URL" not in found["warning"]
    assert "REDIS_URL is unset" in found["warning"]


async def test_operators_without_a_second_factor_are_a_hint() -> None:
    hint = "operators need no second factor"
    assert hint in (await weak_spots(second_factor_required="none"))["ok"]
    assert hint not in (await weak_spots(second_factor_required="admins"))["ok"]
