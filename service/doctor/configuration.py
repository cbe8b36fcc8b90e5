"""The settings: a wrong one is named, and takes its default so that the rest can be looked at."""

import re
import secrets
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from service.doctor.findings import Deployment, Finding, Findings
from service.settings import Settings, SettingsError, load_settings

SUBJECT: Final = "settings"
# What begins the words about one setting.
_NAMED: Final = re.compile(r"(?:^|(?<=; ))(?=[A-Z][A-Z0-9_]*: )")
# Without these no secret can be kept: a random one takes the place of SECRET_KEY.
_OF_SECRET: Final = ("SECRET_KEY", "DATA_DIR")


@dataclass(frozen=True)
class Loaded:
    """The settings as far as they can be used, and what was found of them."""

    settings: Settings | None
    wrong: frozenset[str]
    listed: list[Finding]


def load() -> Loaded:
    """Read the settings of the environment, with defaults in place of wrong ones."""
    found = Findings(SUBJECT)
    overrides: dict[str, object] = {}
    wrong: set[str] = set()
    while True:
        try:
            return Loaded(load_settings(**overrides), frozenset(wrong), found.listed)
        except SettingsError as error:
            complaints = _complaints(str(error))
        for name, words in complaints.items():
            if name not in wrong:
                found.problem(words, f"correct {name or 'the settings'}: README.md, Settings")
        changed = {key: value for name in complaints for key, value in _replaced(name).items()}
        wrong |= complaints.keys()
        if changed.keys() <= overrides.keys():
            return Loaded(None, frozenset(wrong), found.listed)
        overrides |= changed


def _complaints(message: str) -> dict[str, str]:
    """Return what is said of each setting, by its name; of none under an empty name."""
    parts = [part.removesuffix("; ") for part in _NAMED.split(message) if part]
    return {part.partition(": ")[0] if _NAMED.match(part) else "": part for part in parts}


def _replaced(name: str) -> dict[str, object]:
    """Return the fields that take the place of a wrong setting."""
    if name in _OF_SECRET:
        return {"secret_key": secrets.token_urlsafe(48), **_default("data_dir")}
    if name.startswith("EXTERNAL_") and name.lower() not in Settings.model_fields:
        # No dict: that would be merged with the environment's.
        return {"external_providers": MappingProxyType({})}
    return _default(name.lower())


def _default(field: str) -> dict[str, object]:
    known = Settings.model_fields.get(field)
    return {} if known is None else {field: known.get_default(call_default_factory=True)}


async def check(deployment: Deployment, found: Findings) -> None:
    """Look for what is allowed and weak."""
    settings = deployment.settings
    if not deployment.wrong:
        found.ok(f"every setting is well, for {settings.service_env.value}")
    if not settings.production:
        found.ok(
            f"SERVICE_ENV is {settings.service_env.value}",
            "what serves people has SERVICE_ENV=production",
        )
        return
    for weak, message, advice, name in _weak_spots(settings):
        # What is wrong was said, and has a default in its place.
        if weak and name not in deployment.wrong:
            found.warning(message, advice)
    if settings.second_factor_required == "none":
        found.ok(
            "operators need no second factor",
            "SECOND_FACTOR_REQUIRED=admins closes /admin to sessions without one",
        )


def _weak_spots(settings: Settings) -> tuple[tuple[bool, str, str, str], ...]:
    https = (settings.public_url or "").startswith("https:")
    return (
        (
            not https,
            "PUBLIC_URL has no https: passwords and tokens cross the network readable",
            "serve by TLS, and set PUBLIC_URL=https://…",
            "PUBLIC_URL",
        ),
        (
            not settings.ratelimit_enabled,
            "RATELIMIT_ENABLED is false: nothing limits guessing of passwords",
            "set RATELIMIT_ENABLED=true",
            "RATELIMIT_ENABLED",
        ),
        (
            settings.redis_url is None,
            "REDIS_URL is unset: each process counts limits by itself",
            "with more than one process set REDIS_URL",
            "REDIS_URL",
        ),
        (
            settings.mail_url == "log:",
            "SMTP_URL is log: no mail reaches anybody, and links to accounts stand in the log",
            "set SMTP_URL to a mail server",
            "SMTP_URL",
        ),
        (
            https and settings.trusted_proxies == 0,
            "TRUSTED_PROXIES is 0, and PUBLIC_URL has https: behind a proxy that ends TLS all "
            "clients have the proxy's address, and share its limits",
            "set TRUSTED_PROXIES to the number of proxies that add to X-Forwarded-For",
            "TRUSTED_PROXIES",
        ),
    )
