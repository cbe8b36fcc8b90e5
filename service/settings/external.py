"""The external providers that people sign in through, and where they are sent afterwards.

A provider's settings begin with EXTERNAL_ and its name, so that their names are not known before.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

FIELD: Final = "external_providers"
PARTS: Final = ("client_id", "client_secret", "issuer", "title", "scopes", "api_url")
_VARIABLE: Final = re.compile(rf"external_(.+)_({'|'.join(PARTS)})")
_NAME: Final = re.compile(r"[a-z0-9]{1,20}")
_SCOPES: Final = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/{}-]*)?")
_LOOPBACK_URL: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]{1,5})?(/.*)?")


class ProviderKind(StrEnum):
    """What a provider speaks."""

    OIDC = "oidc"
    GITHUB = "github"
    MICROSOFT = "microsoft"


@dataclass(frozen=True, slots=True)
class ExternalProvider:
    """A provider at which the service is registered."""

    name: str
    title: str
    kind: ProviderKind
    issuer: str
    client_id: str
    client_secret: SecretStr
    scopes: str
    # Of GitHub alone.
    api_url: str


_OIDC_SCOPES: Final = "openid email profile"
_KNOWN: Final[Mapping[str, tuple[ProviderKind, str, str, str]]] = {
    "google": (ProviderKind.OIDC, "Google", "https://accounts.google.com", _OIDC_SCOPES),
    "github": (ProviderKind.GITHUB, "GitHub", "https://github.com", "read:user user:email"),
    "microsoft": (
        ProviderKind.MICROSOFT,
        "Microsoft",
        "https://login.microsoftonline.com/common/v2.0",
        _OIDC_SCOPES,
    ),
}
_GITHUB_API: Final = "https://api.github.com"


class ExternalSource(PydanticBaseSettingsSource):
    """The settings of providers, by the providers' names, of the environment and of `.env`."""

    def __init__(
        self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource
    ) -> None:
        """`sources` are those whose variables are read, of which the first wins."""
        super().__init__(settings_cls)
        self._sources = sources

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return no value, because fields are not read one by one."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the field that has all providers, if there is one."""
        found: dict[str, dict[str, str]] = {}
        for source in reversed(self._sources):
            variables = source.env_vars if isinstance(source, EnvSettingsSource) else {}
            for variable, value in variables.items():
                match = _VARIABLE.fullmatch(variable.lower())
                if match and value:
                    found.setdefault(match[1], {})[match[2]] = value
        return {FIELD: found} if found else {}


class ProviderSettings(BaseSettings):
    """Settings that are read with those of external providers, whose names are not known."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings are read, the first of which wins."""
        external = ExternalSource(settings_cls, env_settings, dotenv_settings)
        return init_settings, external, env_settings, dotenv_settings, file_secret_settings


def parse_providers(given: object) -> object:
    """Return the providers by name, in the order of their names. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError("is set by EXTERNAL_<NAME>_CLIENT_ID and EXTERNAL_<NAME>_CLIENT_SECRET")
    return {name: _provider(name, given[name]) for name in sorted(given)}


def _provider(name: str, values: Mapping[str, str] | ExternalProvider) -> ExternalProvider:
    if isinstance(values, ExternalProvider):
        return values
    if not _NAME.fullmatch(name):
        raise ValueError(f"{_variable(name, 'client_id')}: takes a name of 1 to 20 of A-Z and 0-9")
    for part in ("client_id", "client_secret"):
        if not values.get(part):
            raise ValueError(f"{_variable(name, part)}: must be set for this provider")
    kind, title, issuer, scopes = _KNOWN.get(
        name, (ProviderKind.OIDC, name.capitalize(), "", _OIDC_SCOPES)
    )
    issuer = values.get("issuer", issuer)
    if not issuer:
        raise ValueError(f"{_variable(name, 'issuer')}: must be set for this provider")
    api_url = values.get("api_url") or _api_url(issuer)
    provider = ExternalProvider(
        name,
        values.get("title", title),
        kind,
        issuer,
        values["client_id"],
        SecretStr(values["client_secret"]),
        values.get("scopes", scopes),
        api_url,
    )
    _check(provider)
    return provider


def _api_url(issuer: str) -> str:
    issuer = issuer.rstrip("/")
    return _GITHUB_API if issuer == _KNOWN["github"][2] else f"{issuer}/api/v3"


def _check(provider: ExternalProvider) -> None:
    name, title, scopes = provider.name, provider.title, provider.scopes
    if not title.strip() or len(title) > 64 or not title.isprintable():
        raise ValueError(f"{_variable(name, 'title')}: takes 1 to 64 characters")
    for part in ("client_id", "client_secret"):
        value = getattr(provider, part)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not text.isprintable():
            raise ValueError(f"{_variable(name, part)}: takes no control characters")
    if not _SCOPES.fullmatch(scopes):
        raise ValueError(f"{_variable(name, 'scopes')}: takes scopes, a space between")
    if provider.kind is not ProviderKind.GITHUB and "openid" not in scopes.split():
        raise ValueError(f"{_variable(name, 'scopes')}: must have openid")
    for part in ("issuer", "api_url"):
        if not _URL.fullmatch(getattr(provider, part)):
            raise ValueError(f"{_variable(name, part)}: takes a URL, without ? and #")


def check_secure(providers: Mapping[str, ExternalProvider], *, production: bool) -> None:
    """Raise ValueError for a provider that is not asked by https, but for loopback."""
    for provider in providers.values():
        for part in ("issuer", "api_url"):
            if not is_secure(getattr(provider, part), production=production):
                raise ValueError(f"{_variable(provider.name, part)}: must begin with https://")


def is_secure(url: str, *, production: bool) -> bool:
    """Whether a URL is of https or, outside of production, of this machine."""
    if url.startswith("https://"):
        return True
    return not production and _LOOPBACK_URL.fullmatch(url) is not None


def _variable(name: str, part: str) -> str:
    return f"EXTERNAL_{name}_{part}".upper()


# A URL of characters that all readers of URLs read alike: no user info, backslash or fragment.
_WEB_URL: Final = re.compile(r"(?P<origin>https?://[^/?#@\\]+)(?P<rest>[/?][^#\\]*)?")
_LOOPBACK: Final = re.compile(
    r"(?P<host>http://(127\.0\.0\.1|\[::1\]))(?P<port>:[0-9]{1,5})?(?P<rest>/[^#\\]*)?"
)
# A dot, because such schemes are domains backwards (RFC 8252, §7.1), which keeps out `javascript`.
_PRIVATE_URL: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:[^#\\]+")
RETURN_URL_MAX: Final = 2_000


def parse_return_urls(text: object) -> object:
    """Return the URLs that people may be sent back to. Raises ValueError."""
    if not isinstance(text, str):
        return text
    urls = [part.strip() for part in text.split(",") if part.strip()]
    if not all(_may_be_listed(url) for url in urls):
        raise ValueError(
            "takes URLs, comma between: https://app.example.com/signed-in, "
            "http://127.0.0.1/signed-in for any port, or com.example.app:/signed-in, without user "
            "info, # and backslash"
        )
    return tuple(urls)


def _may_be_listed(url: str) -> bool:
    if not _is_plain(url):
        return False
    if url.startswith("https://"):
        return _WEB_URL.fullmatch(url) is not None
    if url.startswith("http://"):
        return _LOOPBACK_URL.fullmatch(url) is not None and _WEB_URL.fullmatch(url) is not None
    return _PRIVATE_URL.fullmatch(url) is not None


def may_return_to(url: str, origins: Sequence[str], listed: Sequence[str]) -> bool:
    """Whether people may be sent back to a URL: one of an origin, or one that is listed."""
    if not _is_plain(url):
        return False
    if url in listed and _may_be_listed(url):
        return True
    web, loopback = _WEB_URL.fullmatch(url), _LOOPBACK.fullmatch(url)
    if web is not None and web["origin"] in origins:
        return True
    # Native apps listen on a port that they get at the start (RFC 8252, §7.3).
    return loopback is not None and f"{loopback['host']}{loopback['rest'] or ''}" in listed


def _is_plain(url: str) -> bool:
    return len(url) <= RETURN_URL_MAX and re.fullmatch(r"[!-~]+", url) is not None


def origin_of(url: str) -> str:
    """Return the origin of an http(s) URL, as browsers write it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"
