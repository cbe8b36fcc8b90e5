"""The types of settings that are more than a number or a word.

A ValueError says what the setting takes, and never repeats the value.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from limits import parse_many
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from service.settings.database_url import parse_database_url
from service.settings.external import ExternalProvider, parse_providers, parse_return_urls

DATABASE_SCHEMES: Final = ("postgresql", "postgres", "postgresql+asyncpg")
REDIS_SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
SMTP_SCHEMES: Final = ("smtp", "smtps")
# A century, in seconds: dates cannot hold much more.
MAX_SECONDS: Final = 3_155_760_000
# A year, in seconds: counters are kept for two such times.
MAX_LIMIT_SECONDS: Final = 31_536_000
ENCRYPTION_KEY_BYTES: Final = 32
# Ports that browsers leave out of an origin.
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]"
_ORIGIN: Final = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(:(?P<port>[1-9][0-9]{{0,4}}))?"
)
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"({_LABEL}\.)*{_LABEL}")
_ANDROID_APP: Final = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}")
_ZERO_TIME: Final = re.compile(r"(/|per)\s*0+\s*[a-z]", re.IGNORECASE)


def _check_scheme(url: SecretStr, *, schemes: Sequence[str]) -> SecretStr:
    try:
        scheme = urlsplit(url.get_secret_value()).scheme
    except ValueError:  # its message may hold the password
        raise ValueError("is no address") from None
    if scheme not in schemes:
        raise ValueError(f"must start with one of {', '.join(f'{s}://' for s in schemes)}")
    return url


def _check_database_url(url: SecretStr, *, replica: bool = False) -> SecretStr:
    text = _check_scheme(url, schemes=DATABASE_SCHEMES).get_secret_value()
    parse_database_url(text, replica=replica)
    return url


def _has_server(url: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_smtp_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if text in ("", "log:"):
        return url
    if not _has_server(text, SMTP_SCHEMES) or any(character.isspace() for character in text):
        raise ValueError("must be log:, smtp://[user:password@]host[:port] or smtps://…")
    return url


def _check_mail_from(sender: str) -> str:
    _name, address = parseaddr(sender)
    # A control character could end the header's line.
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", address) or not sender.isprintable():
        raise ValueError("must be an address, or a name and an address: Name <name@host>")
    _check_domain(address.rpartition("@")[2])
    return sender


def _check_domain(domain: str) -> None:
    """Raise ValueError for a domain beyond ASCII that cannot be written in it (IDNA 2008)."""
    if not domain.isascii():
        try:
            validate_email(f"a@{domain}", check_deliverability=False, globally_deliverable=False)
        except EmailNotValidError:
            raise ValueError("has a domain that cannot be") from None


def _check_public_url(url: str) -> str:
    if (
        not _has_server(url, ("http", "https"))
        or not re.fullmatch(r"[!-~]+", url)
        or re.search(r"[?#@\"<>\\]", url)
    ):
        raise ValueError("must be http://host[:port][/path] or https://…, without ? and #")
    return url.rstrip("/")


def _parse_origins(text: object) -> object:
    if not isinstance(text, str):
        return text
    origins = [part.strip() for part in text.split(",") if part.strip()]
    if not all(_is_origin(origin) for origin in origins):
        raise ValueError(
            "takes origins as browsers send them, comma between: https://app.example.com or "
            "http://localhost:9000, in lower case, without *, path, slash at the end or the "
            "scheme's own port"
        )
    return tuple(origins)


def _is_origin(text: str) -> bool:
    match = _ORIGIN.fullmatch(text)
    if not match:
        return False
    port = int(match["port"] or 0)
    return port <= 65535 and port != DEFAULT_PORTS[match["scheme"]]


def _parse_webauthn_origins(text: object) -> object:
    if not isinstance(text, str):
        return text
    origins = [part.strip() for part in text.split(",") if part.strip()]
    if not all(_is_origin(origin) or _ANDROID_APP.fullmatch(origin) for origin in origins):
        raise ValueError(
            "takes origins, comma between: https://app.example.com in lower case, without path, "
            "slash at the end or the scheme's own port, and of Android apps "
            "android:apk-key-hash:… with 43 characters of base64url"
        )
    return tuple(origins)


def _check_rp_id(text: str) -> str:
    if not _DOMAIN.fullmatch(text) or len(text) > 253 or is_ip_address(text):
        raise ValueError("takes a domain in lower case, such as example.com")
    return text


def is_ip_address(host: str) -> bool:
    """Whether a host is an IP address and no domain."""
    # A last label of digits makes an address, in whatever form (URL Standard, §3.5).
    return ":" in host or host.rpartition(".")[2].isdigit()


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and there is no such home") from None


def _check_folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"is no folder: {path}")
    return path


def _check_schema_name(name: str) -> str:
    # PostgreSQL cuts longer names off, and keeps those that begin with pg_ to itself.
    if not re.fullmatch(r"(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,62}", name):
        raise ValueError(
            "takes a name of at most 63 ASCII letters, digits, _ and -, which begins with a "
            "letter or _, and not with pg_"
        )
    return name


def _parse_encryption_keys(text: object) -> object:
    if not isinstance(text, str):
        return text
    parts = [part.strip() for part in text.split(",")]
    keys = [_read_encryption_key(part) for part in parts]
    if len(set(keys)) < len(keys):
        raise ValueError("has the same key twice")
    return tuple(SecretStr(part) for part in parts)


def _read_encryption_key(text: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != ENCRYPTION_KEY_BYTES:
        raise ValueError(f"takes keys of {ENCRYPTION_KEY_BYTES} bytes in base64, comma between")
    return key


def _check_totp_issuer(text: str) -> str:
    # A colon ends the issuer in an authenticator app's label.
    if not text.strip() or len(text) > 64 or ":" in text or not text.isprintable():
        raise ValueError("takes a name of 1 to 64 characters without colon")
    return text


def _check_key_prefix(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,10}", text):
        raise ValueError("takes 2 to 10 of the letters a to z")
    return text


def _check_bind(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(_HOST, host.lower()) or not re.fullmatch(r"\d{1,5}", port):
        raise ValueError("takes an address and a port, such as 0.0.0.0:9100 or [::]:9100")
    if int(port) > 65535:
        raise ValueError("has a port over 65535")
    return text


def _check_limits(text: str) -> str:
    try:
        limits = parse_many(text) if text else []
    except ValueError:
        raise ValueError("takes limits such as 100/minute;1000/hour, or nothing") from None
    # The library takes no minutes for one minute.
    if _ZERO_TIME.search(text) or any(limit.get_expiry() > MAX_LIMIT_SECONDS for limit in limits):
        raise ValueError("takes limits over a time of more than nothing and at most a year")
    return text


# The URL of a PostgreSQL database, with one or several hosts and libpq's parameters.
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database_url)]
# The same for a standby of that database, or several.
ReplicaUrl = Annotated[SecretStr, AfterValidator(partial(_check_database_url, replica=True))]
# The name of a schema, as it stands in the database: upper and lower case differ.
SchemaName = Annotated[str, AfterValidator(_check_schema_name)]
# The URL of a Redis or Valkey server.
RedisUrl = Annotated[SecretStr, AfterValidator(partial(_check_scheme, schemes=REDIS_SCHEMES))]
# The URL of a mail server, or `log:` for the log; an empty one is unset.
SmtpUrl = Annotated[SecretStr, AfterValidator(_check_smtp_url)]
# The one address in the From header, with or without a name.
MailFrom = Annotated[str, AfterValidator(_check_mail_from)]
# The address under which people reach the service, without a slash at its end.
PublicUrl = Annotated[str, AfterValidator(_check_public_url)]
# Origins as browsers send them (RFC 6454, §6.2), separated by commas.
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_origins)]
# External providers by their names.
ExternalProviders = Annotated[
    Mapping[str, ExternalProvider], NoDecode, BeforeValidator(parse_providers)
]
# Where people may be sent back to after a provider, separated by commas.
ReturnUrls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_return_urls)]
# The same, and Android apps by the hashes of their keys.
WebauthnOrigins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_webauthn_origins)]
# The domain that passkeys are bound to (WebAuthn, §5.1.2).
RelyingPartyId = Annotated[str, AfterValidator(_check_rp_id)]
# A path, in which ~ stands for the home of the user that runs the service.
HomePath = Annotated[Path, AfterValidator(_expand_home)]
# A folder that exists.
Folder = Annotated[HomePath, AfterValidator(_check_folder)]
# One or more rate limits, separated by semicolons; an empty one turns the limit off.
Limits = Annotated[str, AfterValidator(_check_limits)]
# Keys for AES-256, of 32 bytes each, in base64, separated by commas.
EncryptionKeys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_parse_encryption_keys)]
# What an authenticator app shows beside the account.
TotpIssuer = Annotated[str, AfterValidator(_check_totp_issuer)]
# What API keys begin with.
KeyPrefix = Annotated[str, AfterValidator(_check_key_prefix)]
# An address of this machine, and a port; port 0 takes a free one.
Bind = Annotated[str, AfterValidator(_check_bind)]
# A lifetime in seconds.
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
