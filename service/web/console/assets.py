"""The files of the page: all modules and the style sheet of this folder."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Final

from service.web.page import Asset, load_asset

_HERE: Final = Path(__file__).parent


@cache
def load_assets() -> dict[str, Asset]:
    """Return the files by name."""
    paths = sorted(path for path in _HERE.iterdir() if path.suffix in (".js", ".css"))
    return {path.name: load_asset(path) for path in paths}


@cache
def version() -> str:
    """Return the name of the content of all files, which is part of the address of each.

    Modules import one another by relative paths, so that those of two versions never mix.
    """
    digests = [f"{asset.name} {asset.digest}" for asset in load_assets().values()]
    return sha256("\n".join(digests).encode()).hexdigest()[:16]


@cache
def load_page() -> str:
    """Return the page with the addresses of its files."""
    folder = f"/console/assets/{version()}"
    # Without these a browser finds each module only in the one that imports it.
    modules = [name for name in load_assets() if name.endswith(".js")]
    preloads = [f'<link rel="modulepreload" href="{folder}/{name}">' for name in modules]
    template = Template((_HERE / "page.html").read_text("utf-8"))
    return template.substitute(folder=folder, preloads="\n  ".join(preloads))
