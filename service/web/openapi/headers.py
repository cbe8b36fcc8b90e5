"""Headers that several operations declare."""

from typing import Final

from service.web.openapi.declarations import Header

REQUEST_ID: Final = Header(
    "X-Request-ID",
    "The id of the request, also in the logs: the one that was sent if it has 1 to 128 letters, "
    "digits, `.`, `_` and `-`, else a new one.",
)
CACHE_CONTROL: Final = Header(
    "Cache-Control",
    "What caches may do: `no-cache`, ask again each time, on public reads; `no-store` on failures, "
    "on answers to writes, and on what is not public.",
)
LOCATION: Final = Header(
    "Location", "The URL of the created resource.", {"type": "string", "format": "uri-reference"}
)
CHALLENGE: Final = Header("WWW-Authenticate", "How to authenticate (RFC 6750, §3).")
SCOPE_CHALLENGE: Final = Header(
    "WWW-Authenticate",
    "For API keys: the scope that opens the operation, if one does (RFC 6750, §3.1).",
    required=False,
)
_COUNT: Final = {"type": "integer", "minimum": 0}
RETRY_AFTER: Final = Header("Retry-After", "Seconds until the request may be repeated.", _COUNT)
ALLOW: Final = Header("Allow", "The methods that the path supports.")
ACCEPT_ENCODING: Final = Header(
    "Accept-Encoding", "`identity`, when the body had a content coding.", required=False
)
# An entity tag, weak after W/ (RFC 9110, §8.8.3). If-Match and If-None-Match are `*` or a list.
ENTITY_TAG: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
_ENTITY_TAGS: Final = {
    "type": "string",
    "pattern": rf"^([ \t]*\*[ \t]*|[ \t,]*{ENTITY_TAG}([ \t]*,[ \t,]*{ENTITY_TAG})*[ \t,]*)$",
}

RATELIMIT: Final = tuple(
    Header(f"RateLimit-{name}", f"On limited routes: {description}.", _COUNT, required=False)
    for name, description in (
        ("Limit", "the number of requests that the tightest limit allows"),
        ("Remaining", "the number of requests that remain"),
        ("Reset", "the seconds until a request is allowed again"),
    )
)
LINK: Final = Header("Link", "The URLs of other pages: first, prev, next, last (RFC 8288).")
REPLAYED: Final = Header(
    "Idempotency-Replayed", "`true` if this is the stored first response.", required=False
)
ETAG: Final = Header("ETag", "The entity tag of this version of the content (RFC 9110, §8.8.3).")

SET_COOKIE: Final = Header(
    "Set-Cookie",
    "For browsers: the tokens (`access_token`, `refresh_token`, which scripts cannot read) and "
    "`csrf_token`, set, or deleted at the end of the session.", required=False,
)  # fmt: skip
CSRF_TOKEN: Final = Header(
    "X-CSRF-Token",
    "With cookies: the value of the cookie `csrf_token`, for pages that cannot read the cookie.",
    required=False,
)

TOKEN_TRANSPORT: Final = Header(
    "X-Token-Transport",
    "`cookie` returns the tokens in cookies instead of the body. Tokens that were sent in cookies "
    "are renewed in cookies.",
    {"type": "string", "enum": ["cookie"]}, required=False,
)  # fmt: skip
SENT_REQUEST_ID: Final = Header(
    "X-Request-ID", "An id for the request, which is logged.", required=False
)
LAST_EVENT_ID: Final = Header(
    "Last-Event-ID", "The last event's id: the stream continues after it.", required=False
)
BUFFERING: Final = Header(
    "X-Accel-Buffering", "`no`: a proxy must not buffer events.", required=False
)
IF_MATCH: Final = Header(
    "If-Match",
    "Entity tags: the request is served only if one of them is current, else 412. A tag names a "
    'version of the content, so that the forms that compressing proxies give it (`W/"…"`, '
    '`"…-gzip"`) are taken, too; by strong comparison (RFC 9110, §13.1.1) no write through such a '
    "proxy could succeed.",
    _ENTITY_TAGS, required=False,
)  # fmt: skip
IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key",
    "A key that the client chooses: a request repeated with its key within 24 hours runs once.",
    {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}, required=False,
)  # fmt: skip
IF_NONE_MATCH: Final = Header(
    "If-None-Match",
    "Entity tags: if one of them is current, a read is answered with 304, and a write with 412.",
    _ENTITY_TAGS, required=False,
)  # fmt: skip
