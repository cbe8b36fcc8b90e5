"""Headers that the document tells of in more than one place."""

from typing import Final

from service.web.openapi.declarations import Header

REQUEST_ID: Final = Header(
    "X-Request-ID",
    "The request's id, which the log has too: the one that was sent, when it is 1 to 128 of "
    "letters, digits, `.`, `_` and `-`, else a new one.",
)
CACHE_CONTROL: Final = Header(
    "Cache-Control", "Whether and how long the answer may be kept.", required=False
)
LOCATION: Final = Header(
    "Location", "Where what was made is found.", {"type": "string", "format": "uri-reference"}
)
CHALLENGE: Final = Header("WWW-Authenticate", "How to show who is calling (RFC 6750, §3).")
RETRY_AFTER: Final = Header(
    "Retry-After", "When to try again, in seconds.", {"type": "integer", "minimum": 0}
)
ALLOW: Final = Header("Allow", "The methods that the path knows.")
ETAG: Final = Header("ETag", "What this state of the content is known by (RFC 9110, §8.8.3).")

SENT_REQUEST_ID: Final = Header(
    "X-Request-ID", "An id for the request, to find it again in logs.", required=False
)
IF_NONE_MATCH: Final = Header(
    "If-None-Match", "The entity tags at hand: when one is current, 304.", required=False
)
