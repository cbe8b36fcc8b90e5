"""All settings, read once from the environment and, in development, from `.env`.

A wrong value raises SettingsError, which names the setting and never repeats the value.
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from service.errors import field_errors
from service.settings.database_url import DatabaseAddress, parse_database_url
from service.settings.env_file import check_env_file
from service.settings.external import FIELD as PROVIDERS
from service.settings.external import ProviderSettings, check_secure
from service.settings.relying_party import RelyingParty, find_relying_party
from service.settings.secret_key import (
    check_production_key,
    check_production_secret,
    development_secret,
)
from service.settings.types import (
    MAX_SECONDS,
    Bind,
    DatabaseUrl,
    EncryptionKeys,
    ExternalProviders,
    Folder,
    HomePath,
    KeyPrefix,
    Limits,
    MailFrom,
    Origins,
    PublicUrl,
    RedisUrl,
    RelyingPartyId,
    ReplicaUrl,
    ReturnUrls,
    SchemaName,
    Seconds,
    SmtpUrl,
    TotpIssuer,
    WebauthnOrigins,
)

PROJECT: Final = Path(__file__).resolve().parents[2]
# Settings whose defaults would fail in silence in production: mails to nobody, links to this host.
REQUIRED_IN_PRODUCTION: Final = (
    "database_url",
    "secret_key",
    "smtp_url",
    "mail_from",
    "public_url",
)


ServerName = Literal["hypercorn", "uvicorn"]


class SettingsError(Exception):
    """The configuration is wrong; the message names the setting."""


class Environment(StrEnum):
    """Where the service runs."""

    DEVELOPMENT = "development"
    TESTING = "testing"
    PRODUCTION = "production"


class Settings(ProviderSettings):
    """The settings; the environment variable of each is its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    service_env: Environment = Environment.DEVELOPMENT
    database_url: DatabaseUrl | None = None
    database_pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    database_pool_timeout: Annotated[float, Field(gt=0, le=300)] = 5
    database_statement_timeout: Annotated[float, Field(gt=0, le=3600)] = 15
    database_pgbouncer: bool = False
    database_schema: SchemaName | None = None
    database_replica_url: ReplicaUrl | None = None
    database_replica_max_lag: Annotated[float, Field(ge=0.25, le=20)] = 1
    data_dir: HomePath = PROJECT / "var"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    secret_key: SecretStr = SecretStr("")
    jwt_secret_key: SecretStr = SecretStr("")
    jwt_keys_dir: Folder | None = None
    jwt_signing_key: str | None = None
    jwt_issuer: str = "service"
    jwt_audience: str = "service"
    jwt_access_token_expires: Seconds = 3600
    jwt_refresh_token_expires: Seconds = 2_592_000
    refresh_reuse_grace: Annotated[int, Field(ge=0, le=3600)] = 30
    session_max_age: Seconds = 7_776_000
    encryption_keys: EncryptionKeys = ()
    totp_issuer: TotpIssuer | None = None
    webauthn_rp_id: RelyingPartyId | None = None
    webauthn_origins: WebauthnOrigins = ()
    step_up_max_age: Seconds = 900
    second_factor_required: Literal["none", "admins"] = "none"
    # By name: the settings EXTERNAL_<NAME>_….
    external_providers: ExternalProviders = Field(default_factory=dict)
    external_return_urls: ReturnUrls = ()
    api_key_prefix: KeyPrefix = "svc"
    api_key_max_age: Annotated[int, Field(ge=0, le=MAX_SECONDS)] = 31_622_400
    refuse_common_passwords: bool | None = None
    max_content_length: Annotated[int, Field(ge=1)] = 2_097_152
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    security_events_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    cors_origins: Origins = ()
    server: ServerName = "hypercorn"
    http2_prior_knowledge: bool = False
    trusted_proxies: Annotated[int, Field(ge=0, le=16)] = 0
    redis_url: RedisUrl | None = None
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
    ratelimit_second_factor: Limits = "10/minute"
    ratelimit_begin: Limits = "60/minute"
    ratelimit_keys: Limits = "20/hour"
    ratelimit_revoke: Limits = "30/minute"
    ratelimit_default: Limits = "50/hour;200/day"
    smtp_url: SmtpUrl = SecretStr("")
    smtp_tls: Literal["verify", "opportunistic", "off"] = "verify"
    mail_from: MailFrom = "service@localhost"
    public_url: PublicUrl | None = None
    drain_seconds: Annotated[float, Field(ge=0, le=300)] | None = None
    worker_heartbeat_file: Path | None = None
    worker_metrics_bind: Bind | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["console", "json"] | None = None
    otel_exporter_otlp_endpoint: str | None = None

    @property
    def production(self) -> bool:
        """Whether the service runs in production."""
        return self.service_env is Environment.PRODUCTION

    @property
    def json_logs(self) -> bool:
        """Whether logs are JSON: as LOG_FORMAT says, else in production."""
        return self.production if self.log_format is None else self.log_format == "json"

    @property
    def common_passwords_refused(self) -> bool:
        """Whether common passwords are refused: REFUSE_COMMON_PASSWORDS, else in production."""
        refused = self.refuse_common_passwords
        return self.production if refused is None else refused

    @property
    def jwt_secret(self) -> str:
        """The HS256 secret: JWT_SECRET_KEY, else SECRET_KEY."""
        return (self.jwt_secret_key or self.secret_key).get_secret_value()

    @property
    def mail_url(self) -> str:
        """The mail server's URL: SMTP_URL, else that of the log."""
        return self.smtp_url.get_secret_value() or "log:"

    @property
    def public_address(self) -> str:
        """The URL of the service for people: PUBLIC_URL, else the address that it listens on."""
        return self.public_url or local_url(self.host, self.port)

    @property
    def relying_party(self) -> RelyingParty | None:
        """The relying party of passkeys, or None where there can be none (off).

        Raises ValueError, which names the setting.
        """
        return find_relying_party(
            self.webauthn_rp_id,
            self.webauthn_origins,
            # Browsers know no passkeys under an IP address, at which development listens.
            self.public_url or f"http://localhost:{self.port}",
            self.cors_origins,
        )

    @property
    def database_dsn(self) -> str:
        """DATABASE_URL as libpq and asyncpg read it. Raises SettingsError when it is unset."""
        if self.database_url is None:
            raise SettingsError(
                "DATABASE_URL: is not set (`service run` starts an embedded PostgreSQL without it)"
            )
        return self.database_url.get_secret_value().replace("postgresql+asyncpg:", "postgresql:", 1)

    @property
    def database_address(self) -> DatabaseAddress:
        """DATABASE_URL, read. Raises SettingsError when it is unset."""
        return parse_database_url(self.database_dsn)

    @property
    def replica_address(self) -> DatabaseAddress | None:
        """DATABASE_REPLICA_URL, read, or None when it is unset."""
        url = self.database_replica_url
        return None if url is None else parse_database_url(url.get_secret_value(), replica=True)

    @model_validator(mode="before")
    @classmethod
    def _ignore_empty(cls, values: Mapping[str, object]) -> dict[str, object]:
        # Compose files pass an unset variable as "". Only for a rate limit it is a value: off.
        return {
            name: value
            for name, value in values.items()
            if value != "" or name.lower().startswith("ratelimit_")
        }

    @model_validator(mode="after")
    def _check_production(self) -> Self:
        if not self.production:
            return self
        missing = [name for name in REQUIRED_IN_PRODUCTION if name not in self.model_fields_set]
        if missing:
            raise ValueError("; ".join(f"{n.upper()}: must be set in production" for n in missing))
        check_production_secret("SECRET_KEY", self.secret_key)
        if self.jwt_secret_key:
            check_production_secret("JWT_SECRET_KEY", self.jwt_secret_key)
        for key in self.encryption_keys:
            check_production_key("ENCRYPTION_KEYS", key)
        return self

    @model_validator(mode="after")
    def _check_others(self) -> Self:
        check_secure(self.external_providers, production=self.production)
        _ = self.relying_party
        return self


def local_url(host: str, port: int) -> str:
    """Return the URL, on this machine, of a server that listens on an address."""
    # An address for all interfaces cannot be connected to.
    host = "localhost" if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment, or of `overrides` where these have them.

    Raises SettingsError, which names every wrong setting.
    """
    try:
        settings = Settings(_env_file=_env_file(), **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    if settings.production or settings.secret_key.get_secret_value():
        return settings
    path = settings.data_dir / "secret_key"
    try:
        secret = development_secret(path)
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {error.strerror}: {path}") from None
    return settings.model_copy(update={"secret_key": secret})


def _env_file() -> Path | None:
    """Return the file of settings, which development alone reads. Raises SettingsError."""
    if os.environ.get("SERVICE_ENV", "") not in {"", Environment.DEVELOPMENT}:
        return None
    path = Path(".env")
    try:
        check_env_file(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    return path


def _explain(error: ValidationError) -> str:
    return "; ".join(
        # Of providers the message names the setting.
        message if name in ("", PROVIDERS) else f"{name.upper()}: {message}"
        for name, messages in field_errors(error).items()
        for message in messages
    )
