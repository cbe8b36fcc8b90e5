"""Metrics for Prometheus."""

from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from quart import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from service.observability.metrics import Metrics
from service.web.openapi import answers
from service.web.ratelimit import unlimited
from service.web.request_state import request_state

PLAIN: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"
# Where no version is asked for, it is this one, too.
_VERSION: Final = "1.0.0"

blueprint: Final = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@unlimited
@answers(
    200,
    media_type=PLAIN,
    other_media_types=[OPENMETRICS],
    description="The metrics in Prometheus' text format, or in OpenMetrics' with exemplars.",
)
async def read_metrics() -> Response:
    """Read the service's metrics."""
    accept = request.headers.get("accept", "")
    text, content_type = await write_metrics(request_state().app.metrics, accept)
    return Response(text, content_type=content_type)


async def write_metrics(metrics: Metrics, accept: str) -> tuple[bytes, str]:
    """Return metrics in the format that an Accept header prefers, and its media type."""
    openmetrics = _prefers_openmetrics(parse_accept_header(accept, MIMEAccept))
    text = await metrics.render(openmetrics=openmetrics)
    return text, CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4


def _prefers_openmetrics(accepted: MIMEAccept) -> bool:
    """Whether OpenMetrics is asked for by name, and plain text is not asked for more."""
    openmetrics, plain, any_type = 0.0, None, 0.0
    for value, quality in accepted:
        media_type, options = parse_options_header(value.lower())
        if media_type == OPENMETRICS and options.get("version", _VERSION) == _VERSION:
            openmetrics = max(openmetrics, quality)
        elif media_type == PLAIN:
            plain = max(plain or 0.0, quality)
        elif media_type in ("text/*", "*/*"):
            any_type = max(any_type, quality)
    return 0 < openmetrics >= (any_type if plain is None else plain)
