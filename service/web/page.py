"""What the pages of this host have in common: the headers of a page and of its files."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from service.errors import NotFound
from service.web.openapi import Header

# Only content of this host, and no inline scripts or styles.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICY_HEADER: Final = Header("Content-Security-Policy", "Only content of this host.")
PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# The address of a file changes with its content.
FILE_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
}


class AssetNotFound(NotFound):
    """The page has no such file, or has a newer one."""


@dataclass(frozen=True)
class Asset:
    """A file of a page."""

    name: str
    content: bytes
    content_type: str

    @property
    def digest(self) -> str:
        """A name of the content."""
        return sha256(self.content).hexdigest()[:16]


def load_asset(path: Path) -> Asset:
    """Return a file with the type that its name says."""
    return Asset(path.name, path.read_bytes(), _TYPES[path.suffix])
