"""The files of the page: Swagger UI's from an installed package, and those of this folder."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from typing import Final

# A distribution of Swagger UI's files, of which the Python code is not used.
_PACKAGE: Final = "flask-swagger-ui"
_FOLDER: Final = "flask_swagger_ui/dist"
_HERE: Final = Path(__file__).parent
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page, whose `name` changes with its content."""

    name: str
    content: bytes
    content_type: str


def _load(path: Path) -> Asset:
    content = path.read_bytes()
    digest = sha256(content).hexdigest()[:16]
    return Asset(f"{path.stem}.{digest}{path.suffix}", content, _TYPES[path.suffix])


@cache
def _load_all() -> dict[str, Asset]:
    swagger_ui = Path(str(distribution(_PACKAGE).locate_file(_FOLDER)))
    return {
        "bundle": _load(swagger_ui / "swagger-ui-bundle.js"),
        "style": _load(swagger_ui / "swagger-ui.css"),
        "icon": _load(swagger_ui / "favicon-32x32.png"),
        "start": _load(_HERE / "start.js"),
        "page": _load(_HERE / "page.css"),
    }


@cache
def load_assets() -> dict[str, Asset]:
    """Return the files by name; the first call reads about 2 MB from disk."""
    return {asset.name: asset for asset in _load_all().values()}


def load_icon() -> Asset:
    """Return the page's icon."""
    return _load_all()["icon"]


@cache
def load_page() -> str:
    """Return the page with the names of its files."""
    template = Template((_HERE / "page.html").read_text("utf-8"))
    return template.substitute({role: asset.name for role, asset in _load_all().items()})
