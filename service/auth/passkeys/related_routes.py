"""The origins of other domains that may use this one's passkeys (WebAuthn, level 3, §5.11)."""

from typing import Final

from quart import Blueprint, Response

from service.auth.passkeys.component import relying_party
from service.auth.passkeys.errors import NoRelatedOrigins
from service.auth.passkeys.schemas import RelatedOriginsOut
from service.web.openapi import answers
from service.web.ratelimit import unlimited
from service.web.responses import json_response

blueprint: Final = Blueprint("related_origins", __name__)

MAX_AGE: Final = 300  # seconds


@blueprint.get("/.well-known/webauthn")
@unlimited
@answers(200, RelatedOriginsOut, errors=[NoRelatedOrigins])
async def list_related_origins() -> Response:
    """List the origins outside the domain of passkeys that may use them, for browsers."""
    origins = relying_party().related_origins
    if not origins:
        raise NoRelatedOrigins
    caching = {"Cache-Control": f"public, max-age={MAX_AGE}"}
    return json_response({"origins": origins}, headers=caching)
