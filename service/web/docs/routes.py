"""The OpenAPI document, and the page on which every operation can be tried."""

import asyncio
from functools import cache
from hashlib import sha256
from typing import Final

from quart import Blueprint, Quart, Response

from service.web.conditional import EntityTag, reads_preconditions, tagged
from service.web.docs.assets import load_assets, load_icon, load_page
from service.web.openapi import answers, document
from service.web.openapi.headers import ETAG
from service.web.page import FILE_HEADERS, PAGE_HEADERS, POLICY_HEADER, AssetNotFound
from service.web.ratelimit import unlimited
from service.web.request_state import request_state
from service.web.responses import dumps

blueprint: Final = Blueprint("docs", __name__)

_ICON_HEADERS: Final = FILE_HEADERS | {"Cache-Control": "public, max-age=86400"}


@blueprint.get("/openapi.json")
@unlimited
@reads_preconditions
@answers(200, media_type="application/json", headers=[ETAG], description="The OpenAPI document.")
@answers(304, headers=[ETAG], description="The document has not changed.")
async def read_openapi() -> Response:
    """Read the OpenAPI document."""
    body, tag = _document(request_state().app)
    response = Response(body, content_type="application/json")
    response.cache_control.no_cache = True
    return tagged(response, tag)


@blueprint.get("/docs")
@unlimited
@answers(200, media_type="text/html", headers=[POLICY_HEADER], description="The page.")
async def read_docs() -> Response:
    """Read the page on which every operation can be tried."""
    page = await asyncio.to_thread(load_page)
    return Response(page, content_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


@blueprint.get("/docs/assets/<name>")
@unlimited
@answers(200, media_type="text/javascript", description="A script.")
@answers(200, media_type="text/css", description="A style sheet.")
@answers(200, media_type="image/png", description="An icon.")
async def read_docs_asset(name: str) -> Response:
    """Read a file that the page needs."""
    asset = (await asyncio.to_thread(load_assets)).get(name)
    if asset is None:
        raise AssetNotFound
    return Response(asset.content, content_type=asset.content_type, headers=FILE_HEADERS)


@blueprint.get("/favicon.ico")
@unlimited
@answers(200, media_type="image/png", description="The icon.")
async def read_icon() -> Response:
    """Read the icon, which browsers ask for whatever page they show."""
    icon = await asyncio.to_thread(load_icon)
    return Response(icon.content, content_type=icon.content_type, headers=_ICON_HEADERS)


@cache
def _document(app: Quart) -> tuple[bytes, EntityTag]:
    # Once, because the routes of a running application do not change.
    body = dumps(document(app))
    return body, EntityTag(sha256(body).hexdigest()[:32])
