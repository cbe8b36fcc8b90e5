"""All settings, read from the environment once.

`.env` in the working directory is read too, in development. A wrong value raises
SettingsError, which names the setting and never repeats its value.
"""

import os
import secrets
import tempfile
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.settings.types import check_mail_from, check_public_url, check_smtp_url, read_origins

MIN_SECRET_BYTES: Final = 32
# Secrets that are published, in .env.example and docker-compose.yml, start so.
PUBLISHED_SECRET_PREFIX: Final = "development-only-"  # noqa: S105
REDIS_SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
DATABASE_SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")
PROJECT: Final = Path(__file__).resolve().parents[2]


class SettingsError(Exception):
    """The configuration is wrong; the message names the setting."""


class Environment(StrEnum):
    """Where the service runs."""

    DEVELOPMENT = "development"
    TESTING = "testing"
    PRODUCTION = "production"


def _check_database_url(url: SecretStr | None) -> SecretStr | None:
    if url is None or not url.get_secret_value():
        return None
    try:
        scheme = urlsplit(url.get_secret_value()).scheme
    except ValueError:  # its message may hold the password
        raise ValueError("is no address") from None
    if scheme not in DATABASE_SCHEMES:
        raise ValueError(f"must start with one of {', '.join(f'{s}://' for s in DATABASE_SCHEMES)}")
    return url


def _check_folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise ValueError(f"is no folder: {path}")
    return path


def _check_redis_url(url: SecretStr | None) -> SecretStr | None:
    if url is not None and urlsplit(url.get_secret_value()).scheme not in REDIS_SCHEMES:
        raise ValueError(f"must start with one of {', '.join(f'{s}://' for s in REDIS_SCHEMES)}")
    return url


def _check_limits(text: str) -> str:
    if not text:
        return text
    try:
        parse_many(text)
    except ValueError:
        raise ValueError("takes limits such as 100/minute;1000/hour, or nothing") from None
    return text


# One or more limits; "" turns it off.
Limits = Annotated[str, AfterValidator(_check_limits)]

# A century: more would leave what dates can hold.
MAX_SECONDS: Final = 3_155_760_000
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]


class Settings(BaseSettings):
    """The settings; the environment variables are their names in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    service_env: Environment = Environment.DEVELOPMENT
    database_url: Annotated[SecretStr | None, AfterValidator(_check_database_url)] = None
    database_pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    database_pool_timeout: Annotated[float, Field(gt=0, le=300)] = 5
    database_statement_timeout: Annotated[float, Field(gt=0, le=3600)] = 15
    database_pgbouncer: bool = False
    data_dir: Path = PROJECT / "var"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    secret_key: SecretStr = SecretStr("")
    jwt_secret_key: SecretStr = SecretStr("")
    jwt_keys_dir: Annotated[Path | None, AfterValidator(_check_folder)] = None
    jwt_issuer: str = "service"
    jwt_audience: str = "service"
    jwt_access_token_expires: Seconds = 3600
    jwt_refresh_token_expires: Seconds = 2_592_000
    refresh_reuse_grace: Annotated[int, Field(ge=0, le=3600)] = 30
    session_max_age: Seconds = 7_776_000
    max_content_length: Annotated[int, Field(ge=1)] = 2_097_152
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_origins)] = ()
    trusted_proxies: Annotated[int, Field(ge=0, le=16)] = 0
    redis_url: Annotated[SecretStr | None, AfterValidator(_check_redis_url)] = None
    ratelimit_enabled: bool = True
    ratelimit_read: Limits = "100/minute"
    ratelimit_create: Limits = "10/minute"
    ratelimit_write: Limits = "60/minute"
    ratelimit_stream: Limits = "30/minute"
    ratelimit_register: Limits = "10/minute"
    ratelimit_login: Limits = "10/minute"
    ratelimit_login_account: Limits = "20/hour"
    ratelimit_refresh: Limits = "60/minute"
    ratelimit_mail: Limits = "5/hour"
    ratelimit_admin: Limits = "120/minute"
    ratelimit_default: Limits = "50/hour;200/day"
    smtp_url: Annotated[SecretStr, AfterValidator(check_smtp_url)] = SecretStr("")
    mail_from: Annotated[str, AfterValidator(check_mail_from)] = "service@localhost"
    public_url: Annotated[str, AfterValidator(check_public_url)] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["console", "json"] | None = None
    otel_exporter_otlp_endpoint: str | None = None

    @property
    def production(self) -> bool:
        return self.service_env is Environment.PRODUCTION

    @property
    def json_logs(self) -> bool:
        """LOG_FORMAT; unset, JSON in production and lines for a person elsewhere."""
        return self.production if self.log_format is None else self.log_format == "json"

    @property
    def jwt_secret(self) -> str:
        """The HS256 secret: JWT_SECRET_KEY, else SECRET_KEY."""
        return (self.jwt_secret_key or self.secret_key).get_secret_value()

    @property
    def mail_url(self) -> str:
        """Where mail goes: SMTP_URL, else the log."""
        return self.smtp_url.get_secret_value() or "log:"

    @property
    def public_address(self) -> str:
        """Where people reach the service: PUBLIC_URL, else the address that it listens on."""
        if self.public_url is not None:
            return self.public_url
        # A server on every interface is reached on this machine's own.
        host = "localhost" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def database_dsn(self) -> str:
        """The database's address as libpq and asyncpg write it; raises SettingsError when unset."""
        if self.database_url is None:
            raise SettingsError(
                "DATABASE_URL: is not set (`service run` starts an embedded PostgreSQL without it)"
            )
        return self.database_url.get_secret_value().replace("postgresql+asyncpg:", "postgresql:", 1)

    @model_validator(mode="before")
    @classmethod
    def _ignore_empty(cls, values: Any) -> Any:
        # Compose files pass what is not set as "". For a limit it means something.
        return {
            name: value
            for name, value in values.items()
            if value != "" or name.lower().startswith("ratelimit_")
        }

    @model_validator(mode="after")
    def _check_production(self) -> Self:
        if not self.production:
            return self
        if self.database_url is None:
            raise ValueError("DATABASE_URL: must be set in production")
        if not self.smtp_url.get_secret_value():
            raise ValueError("SMTP_URL: must be set in production (log: writes mails to the log)")
        for name in ("secret_key", "jwt_secret_key"):
            secret: str = getattr(self, name).get_secret_value()
            if name == "secret_key" or secret:
                _check_secret(name.upper(), secret)
        return self


def _check_secret(name: str, secret: str) -> None:
    if not secret:
        raise ValueError(f"{name}: must be set in production")
    if secret.startswith(PUBLISHED_SECRET_PREFIX):
        raise ValueError(f"{name}: is the published development secret; make one of your own")
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"{name}: must have at least {MIN_SECRET_BYTES} bytes in production")


def load_settings(**overrides: object) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Raises SettingsError naming every wrong setting.
    """
    in_development = os.environ.get("SERVICE_ENV", "") in {"", Environment.DEVELOPMENT}
    try:
        settings = Settings(_env_file=".env" if in_development else None, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    if settings.production or settings.secret_key.get_secret_value():
        return settings
    return settings.model_copy(update={"secret_key": _development_secret(settings.data_dir)})


def _explain(error: ValidationError) -> str:
    problems = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in detail["loc"]).upper()
        message = detail["msg"].removeprefix("Value error, ")
        problems.append(f"{name}: {message}" if name else message)
    return "; ".join(problems)


def _development_secret(data_dir: Path) -> SecretStr:
    """Make a secret once per DATA_DIR, so that sessions outlive a restart in development."""
    path = data_dir / "secret_key"
    try:
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(48))
        return SecretStr(path.read_text())
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {error.strerror}: {path}") from None


def _write_once(path: Path, text: str) -> None:
    """Write a private file whole or not at all; of two processes the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
