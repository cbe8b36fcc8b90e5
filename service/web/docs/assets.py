"""The files of the page: Swagger UI's, as an installed package carries them, and our own few."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Final

# A distribution that carries Swagger UI's files; its code is not used.
_PACKAGE: Final = "flask-swagger-ui"
_FOLDER: Final = "flask_swagger_ui/dist"
_OWN: Final = Path(__file__).parent
_TYPES: Final = MappingProxyType(
    {
        ".js": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".png": "image/png",
    }
)


@dataclass(frozen=True)
class Asset:
    """A file of the page; its `name` changes with its content."""

    name: str
    content: bytes
    content_type: str


def _files() -> dict[str, Path]:
    theirs = Path(str(distribution(_PACKAGE).locate_file(_FOLDER)))
    return {
        "bundle": theirs / "swagger-ui-bundle.js",
        "style": theirs / "swagger-ui.css",
        "icon": theirs / "favicon-32x32.png",
        "start": _OWN / "start.js",
        "page": _OWN / "page.css",
    }


def _load(path: Path) -> Asset:
    content = path.read_bytes()
    digest = sha256(content).hexdigest()[:16]
    return Asset(f"{path.stem}.{digest}{path.suffix}", content, _TYPES[path.suffix])


@cache
def _load_all() -> dict[str, Asset]:
    return {role: _load(path) for role, path in _files().items()}


@cache
def load_assets() -> dict[str, Asset]:
    """The files by name; the first call reads them from disk, about 2 MB."""
    return {asset.name: asset for asset in _load_all().values()}


@cache
def load_page() -> str:
    """The page, naming its files."""
    template = Template((_OWN / "page.html").read_text("utf-8"))
    return template.substitute({role: asset.name for role, asset in _load_all().items()})
