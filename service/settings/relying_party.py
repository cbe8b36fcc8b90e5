"""The relying party of passkeys: the domain that they are bound to, and the origins that use them.

WebAuthn, §4 has the term.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from service.settings.types import DEFAULT_PORTS, is_ip_address

ANDROID: Final = "android:"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The domain that passkeys are bound to, and the origins whose pages and apps may use them."""

    id: str
    origins: tuple[str, ...]

    @property
    def related_origins(self) -> list[str]:
        """The origins of pages outside the domain (WebAuthn, §5.11)."""
        return [origin for origin in self.origins if not _fits(self.id, origin)]


def find_relying_party(
    rp_id: str | None, origins: Sequence[str], public_url: str, cors_origins: Sequence[str]
) -> RelyingParty | None:
    """Return the relying party, by default of PUBLIC_URL's host; None when that is an IP address.

    Raises ValueError, which names the setting.
    """
    host = urlsplit(public_url).hostname or ""
    if rp_id is None:
        if is_ip_address(host):
            return None
        rp_id = host
    if not origins:
        inside = (origin for origin in cors_origins if _fits(rp_id, origin))
        origins = tuple(dict.fromkeys([_origin(public_url), *inside]))
    if not any(_fits(rp_id, origin) for origin in origins):
        raise ValueError(
            "WEBAUTHN_RP_ID: none of WEBAUTHN_ORIGINS (by default PUBLIC_URL's origin) is of this "
            "domain or one below it"
        )
    return RelyingParty(rp_id, tuple(origins))


def _fits(rp_id: str, origin: str) -> bool:
    """Whether the pages of an origin may use a domain's passkeys; of an app its files say so."""
    if origin.startswith(ANDROID):
        return True
    host = urlsplit(origin).hostname or ""
    return host == rp_id or host.endswith(f".{rp_id}")


def _origin(url: str) -> str:
    """Return the origin of a URL as browsers send it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = parts.port
    default = port is None or port == DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{shown}" if default else f"{parts.scheme}://{shown}:{port}"
