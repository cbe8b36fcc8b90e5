"""Checks of the settings that are addresses; a ValueError never repeats the value."""

import re
from email.utils import parseaddr
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

SMTP_SCHEMES: Final = ("smtp", "smtps")
# A port that browsers leave out of an origin.
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]"
_ORIGIN: Final = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(:(?P<port>[1-9][0-9]{{0,4}}))?"
)


def check_smtp_url(url: SecretStr) -> SecretStr:
    """Check SMTP_URL; empty means that none is set."""
    text = url.get_secret_value()
    if text in ("", "log:"):
        return url
    try:
        parts = urlsplit(text)
        known = parts.scheme in SMTP_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or any(character.isspace() for character in text):
        raise ValueError("must be log:, smtp://[user:password@]host[:port] or smtps://…")
    return url


def check_mail_from(sender: str) -> str:
    """Check MAIL_FROM: one address, nothing that could end a header's line."""
    _name, address = parseaddr(sender)
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", address) or not sender.isprintable():
        raise ValueError("must be an address, or a name and an address: Name <name@host>")
    return sender


def check_public_url(url: str) -> str:
    """Check PUBLIC_URL and take a slash at its end away."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or not re.fullmatch(r"[!-~]+", url) or re.search(r"[?#@\"<>\\]", url):
        raise ValueError("must be http://host[:port][/path] or https://…, without ? and #")
    return url.rstrip("/")


def read_origins(text: object) -> object:
    """Read CORS_ORIGINS: origins as browsers send them (RFC 6454, §6.2), comma between."""
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
    found = _ORIGIN.fullmatch(text)
    if not found:
        return False
    port = int(found["port"] or 0)
    return port <= 65535 and port != DEFAULT_PORTS[found["scheme"]]
