"""The operators' console, a page without data of its own: what it shows, it reads under /admin."""

import asyncio
from typing import Final

from quart import Blueprint, Response

from service.web.conditional import EntityTag, reads_preconditions, tagged
from service.web.console.assets import load_assets, load_page, version
from service.web.openapi import Header, answers
from service.web.openapi.headers import ETAG
from service.web.page import FILE_HEADERS, PAGE_HEADERS, POLICY, POLICY_HEADER, AssetNotFound
from service.web.ratelimit import unlimited

blueprint: Final = Blueprint("console", __name__, url_prefix="/console")

# Scripts that would make markup of text are refused as well, by browsers with Trusted Types.
_POLICY: Final = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"
_HEADERS: Final = PAGE_HEADERS | {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
_DECLARED: Final = (
    POLICY_HEADER,
    Header("Cross-Origin-Opener-Policy", "Pages that open this one cannot reach into it."),
    Header("X-Frame-Options", "No page may frame it."),
    Header("X-Robots-Tag", "Search engines leave it out."),
)


@blueprint.get("")
@unlimited
@answers(200, media_type="text/html", headers=_DECLARED, description="The page.")
async def read_console() -> Response:
    """Read the page on which operators work."""
    page = await asyncio.to_thread(load_page)
    return Response(page, content_type="text/html; charset=utf-8", headers=_HEADERS)


@blueprint.get("/assets/<folder>/<name>")
@unlimited
@reads_preconditions
@answers(200, media_type="text/javascript", headers=[ETAG], description="A script.")
@answers(200, media_type="text/css", headers=[ETAG], description="A style sheet.")
@answers(304, headers=[ETAG], description="The file has not changed.")
async def read_console_asset(folder: str, name: str) -> Response:
    """Read a file that the page needs."""
    asset = (await asyncio.to_thread(load_assets)).get(name)
    if asset is None or folder != version():
        raise AssetNotFound
    response = Response(asset.content, content_type=asset.content_type, headers=FILE_HEADERS)
    return tagged(response, EntityTag(asset.digest))
