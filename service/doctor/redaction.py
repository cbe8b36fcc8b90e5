"""The last defence of secrets: whatever a finding says, they are not in it.

Checks quote no secret by themselves; a server's words might.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from service.doctor.findings import Finding
from service.settings import Settings

# A shorter text is also part of ordinary words.
MIN_CHARACTERS: Final = 8
MASK: Final = "***"
# Variables whose values may be secrets although they are no settings, or are wrong as such.
_SECRET_NAMES: Final = ("SECRET", "PASSWORD", "KEYS", "_URL", "_HEADERS")
_PUBLIC: Final = ("JWT_KEYS_DIR", "PUBLIC_URL", "EXTERNAL_RETURN_URLS")


class Redaction:
    """Replaces the secrets of the settings and of the environment."""

    def __init__(self, settings: Settings | None) -> None:
        values = {*_of_environment(), *(_of_settings(settings) if settings else ())}
        found = {part for value in values for part in _parts(value)}
        kept = {secret for secret in found if len(secret) >= MIN_CHARACTERS}
        # The longest first: one may be part of another.
        self._secrets = sorted(kept, key=len, reverse=True)

    def apply(self, finding: Finding) -> Finding:
        """Return a finding without secrets."""
        return replace(
            finding, message=self._masked(finding.message), advice=self._masked(finding.advice)
        )

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def _of_settings(settings: Settings) -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, SecretStr):
                yield each.get_secret_value()
    for provider in settings.external_providers.values():
        yield provider.client_secret.get_secret_value()


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        upper = name.upper()
        if any(part in upper for part in _SECRET_NAMES) and not upper.endswith(_PUBLIC):
            yield value


def _parts(value: str) -> Iterator[str]:
    """Return the secrets in a value: a URL's are its passwords, a list's are its members."""
    if "://" in value:
        for password in _passwords(value):
            yield from (password, unquote(password))
        return
    yield value
    for member in value.split(","):
        # Of a header its value, and of that what follows the name of a scheme.
        header = member.partition("=")[2]
        yield from (member, header, unquote(header), unquote(header).rpartition(" ")[2])


def _passwords(url: str) -> Iterator[str]:
    # Up to the last @: also of what is no URL, because a character of it is not percent-encoded.
    yield url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    with suppress(ValueError):
        parts = urlsplit(url)
        yield parts.password or ""
        for pair in parts.query.split("&"):
            name, _, value = pair.partition("=")
            if "password" in name:
                yield value
