"""Checks of the settings that are addresses; a ValueError never repeats the value."""

import re
from email.utils import parseaddr
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

SMTP_SCHEMES: Final = ("smtp", "smtps")


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
