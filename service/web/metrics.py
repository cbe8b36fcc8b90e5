"""Metrics for Prometheus."""

from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from quart import Blueprint, Response

from service.web.openapi import answers
from service.web.ratelimit import unlimited
from service.web.request_state import request_state

blueprint: Final = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@unlimited
@answers(200, media_type="text/plain", description="The metrics in Prometheus' text format.")
async def read_metrics() -> Response:
    """Read the service's metrics."""
    text = await request_state().app.metrics.render()
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)
