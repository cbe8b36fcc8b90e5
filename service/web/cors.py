"""CORS: the origins of CORS_ORIGINS, whose pages may read responses (Fetch Standard, §3.2).

Without CORS_ORIGINS nothing is installed, and no page of another origin can read a response.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from quart import Quart, Response, request
from quart_cors import cors

from service.web.responses import no_content

# The time for which browsers cache a preflight; Chromium caps it at two hours.
MAX_AGE: Final = timedelta(hours=2)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_HEADERS: Final = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
    "Last-Event-ID", "X-CSRF-Token", "X-Request-ID", "X-Token-Transport",
    # W3C Trace Context and Baggage: pages with OpenTelemetry put them on every request.
    "traceparent", "tracestate", "baggage",
)  # fmt: skip
EXPOSED_HEADERS: Final = (
    "Allow", "ETag", "Idempotency-Replayed", "Link", "Location", "RateLimit-Limit",
    "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "WWW-Authenticate", "X-CSRF-Token",
    "X-Request-ID",
)  # fmt: skip


def init_app(app: Quart, origins: Sequence[str]) -> None:
    """Allow pages of these origins to read every response, failures included, with credentials.

    Call this last: the hook that is installed last runs first after a request, and therefore also
    when another hook fails.
    """
    if not origins:
        return
    app.before_request(_answer_preflight)
    cors(
        app, allow_origin=origins, allow_credentials=True, allow_methods=METHODS,
        allow_headers=REQUEST_HEADERS, expose_headers=EXPOSED_HEADERS, max_age=MAX_AGE,
    )  # fmt: skip


async def _answer_preflight() -> Response | None:
    """Answer a preflight of any path: a page cannot see a 404 if its preflight was one."""
    preflight = request.method == "OPTIONS" and request.access_control_request_method
    return no_content() if preflight else None
