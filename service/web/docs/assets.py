"""The files of the page: Swagger UI's from an installed package, and those of this folder."""

from dataclasses import replace
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from typing import Final

from service.web.page import Asset, load_asset

# A distribution of Swagger UI's files, of which the Python code is not used.
_PACKAGE: Final = "flask-swagger-ui"
_FOLDER: Final = "flask_swagger_ui/dist"
_HERE: Final = Path(__file__).parent


def _load(path: Path) -> Asset:
    """Return a file under a name that changes with its content."""
    asset = load_asset(path)
    return replace(asset, name=f"{path.stem}.{asset.digest}{path.suffix}")


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
