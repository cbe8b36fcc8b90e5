"""Settings: read once, wrong ones named, values never told."""

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from service.settings import Environment, Settings, SettingsError, load_settings
from tests.support import command

PRODUCTION = {name.upper(): value for name, value in command.PRODUCTION.items()} | {
    "DATABASE_URL": "postgresql://service@localhost/service"
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory and none of our variables in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "var"))


def load(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def complaint(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, values)
    return str(caught.value)


def test_settings_have_their_documented_defaults() -> None:
    settings = load_settings()
    assert settings.service_env is Environment.DEVELOPMENT
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.database_url is None
    assert (settings.database_pool_size, settings.database_pool_timeout) == (10, 5)
    assert settings.database_statement_timeout == 15
    assert settings.max_content_length == 2_097_152
    assert settings.jwt_access_token_expires == 3600
    assert settings.jwt_refresh_token_expires == 2_592_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_ENV", "staging-hunter2"),
        ("DATABASE_URL", "mysql://user:hunter2@host/name"),
        ("DATABASE_URL", "hunter2"),
        ("DATABASE_URL", "postgresql+psycopg://user:hunter2@host/name"),
        ("DATABASE_URL", "http://[hunter2"),
        ("DATABASE_URL", "http://user:hunter2@℀.example"),
        ("REDIS_URL", "redis://user:hunter2@℀.example"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "hunter2"),
        ("DATABASE_POOL_TIMEOUT", "0"),
        ("DATABASE_POOL_TIMEOUT", "nan"),
        ("DATABASE_STATEMENT_TIMEOUT", "-1"),
        ("DATABASE_STATEMENT_TIMEOUT", "inf"),
        ("DATABASE_PGBOUNCER", "hunter2"),
        ("DATABASE_REPLICA_URL", "mysql://user:hunter2@host/name"),
        ("DATABASE_REPLICA_URL", "postgresql://u:hunter2@h/d?target_session_attrs=primary"),
        ("DATABASE_REPLICA_MAX_LAG", "0.1"),
        ("DATABASE_REPLICA_MAX_LAG", "21"),
        ("PORT", "65536"),
        ("PORT", "hunter2"),
        ("JWT_ACCESS_TOKEN_EXPIRES", "0"),
        ("JWT_REFRESH_TOKEN_EXPIRES", "1.5"),
        ("MAX_CONTENT_LENGTH", "0"),
        ("LOG_LEVEL", "hunter2"),
        ("LOG_FORMAT", "hunter2"),
        ("SERVER", "hunter2"),
    ],
)
def test_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    told = complaint(monkeypatch, {name: value})
    assert told.startswith(f"{name}: ")
    assert "hunter2" not in told


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"PORT": "x", "DATABASE_POOL_SIZE": "y"})
    assert "PORT: " in told
    assert "DATABASE_POOL_SIZE: " in told


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@h/d", "postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"]
)
def test_every_scheme_of_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    dsn = load(monkeypatch, {"DATABASE_URL": url}).database_dsn
    assert dsn in {"postgresql://u:p@h/d", "postgres://u:p@h/d"}


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"DATABASE_URL": "", "PORT": ""}).database_url is None


def test_without_a_url_there_is_no_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"DATABASE_REPLICA_URL": ""}).replica_address is None


def test_missing_database_url_is_named() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        _ = load_settings().database_dsn


def test_complete_production_settings_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, PRODUCTION).production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("SECRET_KEY", ""),
        ("SMTP_URL", ""),
        ("MAIL_FROM", ""),
        ("PUBLIC_URL", ""),
        ("SECRET_KEY", "x" * 31),
        ("SECRET_KEY", "development-only-0123456789abcdef0123456789abcdef"),
        ("JWT_SECRET_KEY", "short"),
        ("JWT_SECRET_KEY", "development-only-0123456789abcdef0123456789abcdef"),
    ],
)
def test_production_refuses_incomplete_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    told = complaint(monkeypatch, PRODUCTION | {name: value})
    assert name in told
    assert not value or value not in told


def test_production_names_everything_that_it_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"SERVICE_ENV": "production"})
    for name in PRODUCTION.keys() - {"SERVICE_ENV"}:
        assert f"{name}: must be set in production" in told


def test_secret_s_length_is_counted_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, PRODUCTION | {"SECRET_KEY": "éèêëàâäùûüîïôöçñ"}).production


@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY"])
@pytest.mark.parametrize(
    "secret",
    [
        "development-only-secret-key-0123456789abcdef",
        "Development_Only_0123456789abcdef0123456789",
        "dev-secret-key-change-in-production",
        "DEV_SECRET_KEY CHANGE-IN-PRODUCTION",
        "devsecretkeychangeinproduction-please",
        "dev-secret-key-change-in-production-min-32-chars-long",
        "jwt-secret-key-change-in-production",
        "changethis",
        "Change-This-Change-This-Change-This!",
        "CHANGE_ME_to_a_long_random_string_123",
        "secret",
        "this is a super-secret key, please change me",
        "your-secret-key-here-change-it-2026",
        "generate-a-new-256-bit-secret-key-12345",
        "insecure fallback secret: don't use this in production",
        "YOUR_SECRET_KEY_f3a9c07d51b8e264a0c9d17e",
        "your–super—secret·jwt·key·goes·here·now",
        "\N{FULLWIDTH LATIN SMALL LETTER Y}our-secret-key-change-in-production",
        "django-insecure-0w+h#7x^3u!q2=c$s5%m_a9r8t(k",
        "192B9BDD22AB9ED4D12E236C78AFCB9A393EC15F71BBF5DC987D54727823BCBF",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    ],
)
def test_production_refuses_published_secret_in_any_spelling(
    monkeypatch: pytest.MonkeyPatch, name: str, secret: str
) -> None:
    message = complaint(monkeypatch, PRODUCTION | {name: secret})
    assert message.startswith(f"{name}: is a published secret or a placeholder; ")
    assert secret == "secret" or secret not in message


@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY"])
@pytest.mark.parametrize("secret", ["x" * 32, "123456789" * 4, "zy xw-vu_" * 4])
def test_production_refuses_secret_of_fewer_than_ten_different_characters(
    monkeypatch: pytest.MonkeyPatch, name: str, secret: str
) -> None:
    message = complaint(monkeypatch, PRODUCTION | {name: secret})
    assert f"{name}: must have at least 10 different characters" in message
    assert secret not in message


@pytest.mark.parametrize(
    "secret",
    [
        "0246813579" * 4,
        "secret-key-of-orders-8d1f0b6c93e74a25",
        "change is the only constant, said Heraclitus",
        "dQ8-_zXk1mVtYw0uJcR5sLhB7nEaGfPi2oT4rKx9AbC",
    ],
)
def test_production_takes_own_secret(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    assert load(monkeypatch, PRODUCTION | {"SECRET_KEY": secret}).production


@pytest.mark.parametrize("environment", ["development", "testing"])
def test_published_secret_is_taken_outside_production(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    values = {"SERVICE_ENV": environment, "SECRET_KEY": "dev-secret-key-change-in-production"}
    assert load(monkeypatch, values).jwt_secret == "dev-secret-key-change-in-production"


def test_production_generates_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    complaint(monkeypatch, PRODUCTION | {"SECRET_KEY": ""})
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("environment", "value", "refused"),
    [
        ("", "", False),
        ("development", "true", True),
        ("testing", "", False),
        ("production", "", True),
        ("production", "false", False),
    ],
)
def test_common_passwords_are_refused_in_production_unless_set(
    monkeypatch: pytest.MonkeyPatch, environment: str, value: str, refused: bool
) -> None:
    values = PRODUCTION | {"SERVICE_ENV": environment, "REFUSE_COMMON_PASSWORDS": value}
    assert load(monkeypatch, values).common_passwords_refused is refused


def test_jwt_secret_falls_back_to_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"SECRET_KEY": "one"}).jwt_secret == "one"
    assert load(monkeypatch, {"JWT_SECRET_KEY": "two"}).jwt_secret == "two"


@pytest.mark.parametrize(
    ("environment", "port"), [("", 9), ("development", 9), ("testing", 8000), ("production", 8000)]
)
def test_env_file_is_read_in_development_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: str, port: int
) -> None:
    (tmp_path / ".env").write_text("PORT=9\n")
    assert load(monkeypatch, PRODUCTION | {"SERVICE_ENV": environment}).port == port


def test_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=9\nUNKNOWN=1\n")
    assert load(monkeypatch, {"PORT": "10"}).port == 10


def test_env_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9\nMAIL_FROM=Grüße <a@example.com>\n", "utf-8-sig")
    settings = load_settings()
    assert (settings.port, settings.mail_from) == (9, "Grüße <a@example.com>")


@pytest.mark.parametrize(
    "encoding",
    ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1", "cp1252", "cp437"],
)
@pytest.mark.parametrize("line", ["MAIL_FROM='hunter2 {} <a@example.com>'", "PORT=9 # hunter2 {}"])
def test_env_file_in_another_encoding_than_utf_8_is_refused(
    tmp_path: Path, encoding: str, line: str
) -> None:
    # In ASCII alone the bytes of UTF-16 are UTF-8, too.
    text = line.format("u" if encoding.startswith("utf") else "ü")
    (tmp_path / ".env").write_text(f"{text}\n", encoding)
    with pytest.raises(SettingsError, match=r"^\.env: is not UTF-8 \(line 1\)") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_env_file_that_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=9\n")
    monkeypatch.setattr(Path, "read_bytes", refuse_to_open)
    with pytest.raises(SettingsError, match=r"^\.env: Permission denied"):
        load_settings()


def refuse_to_open(*_: object, **__: object) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), ".env")


@pytest.mark.parametrize("value", ["~", "~/data/deep", "~root/data"])
def test_tilde_in_a_folder_s_setting_is_a_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = Path(value).expanduser()
    assert expected.is_absolute()
    (tmp_path / "data" / "deep").mkdir(parents=True)
    values = {"SECRET_KEY": "one", "DATA_DIR": value}
    assert load(monkeypatch, values).data_dir == expected
    assert load(monkeypatch, values | {"JWT_KEYS_DIR": "~/data"}).jwt_keys_dir == tmp_path / "data"


@pytest.mark.parametrize("name", ["DATA_DIR", "JWT_KEYS_DIR"])
def test_tilde_of_an_unknown_user_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert complaint(monkeypatch, {name: "~no-such-user/x"}).startswith(f"{name}: ")


LIMITS = sorted(name.upper() for name in Settings.model_fields if name.startswith("ratelimit_"))
LIMITS.remove("RATELIMIT_ENABLED")


@pytest.mark.parametrize(
    "value",
    [
        "5/0 minutes",
        "5 per 0 hour",
        "100/minute;5/00 days",
        "5/0second,10/hour",
        "5/2 years",
        "5/13 months",
        "5/366 days",
        "100/minute;5/9000 hours",
        "5/99999999999 seconds",
        "5",
        "minute",
        "5/fortnight",
        "5/-1 minutes",
        ";",
    ],
)
def test_limit_without_a_sensible_time_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    for name in LIMITS:
        assert complaint(monkeypatch, {name: value}).startswith(f"{name}: ")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "value", ["", "5/year", "5/12 months", "5/365 days", "1 per 2 hours; 5/day", "10/10 minutes"]
)
def test_limit_of_a_year_at_most_is_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert load(monkeypatch, {"RATELIMIT_MAIL": value}).ratelimit_mail == value


def test_secrets_are_not_shown_in_settings_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://u:hunter2@h/d"
    settings = load(monkeypatch, {"SECRET_KEY": "hunter2", "DATABASE_URL": url})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_development_secret_is_made_once(tmp_path: Path) -> None:
    first, second = load_settings(), load_settings()
    assert first.jwt_secret == second.jwt_secret
    assert len(first.jwt_secret) >= 32
    kept = tmp_path / "var" / "secret_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [each.name for each in kept.parent.iterdir()] == ["secret_key"]


def test_racing_processes_make_one_secret() -> None:
    with ThreadPoolExecutor(8) as threads:
        loaded = [threads.submit(load_settings) for _ in range(16)]
    assert len({each.result().jwt_secret for each in loaded}) == 1


def test_data_dir_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert "DATA_DIR" in complaint(monkeypatch, {"DATA_DIR": str(tmp_path / "file" / "below")})


def test_application_served_in_production_without_a_secret_does_not_start(tmp_path: Path) -> None:
    environment = {"SERVICE_ENV": "production", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", "import service.asgi"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "must be set in production" in done.stderr
