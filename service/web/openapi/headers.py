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
# An entity tag (RFC 9110, §8.8.3), and what If-Match and If-None-Match hold: `*` or a list of them.
ENTITY_TAG: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
_ENTITY_TAGS: Final = {
    "type": "string",
    "pattern": rf"^([ \t]*\*[ \t]*|[ \t,]*{ENTITY_TAG}([ \t]*,[ \t,]*{ENTITY_TAG})*[ \t,]*)$",
}

RATELIMIT: Final = (
    Header(
        "RateLimit-Limit",
        "On limited routes: how many requests the limit with least room allows.",
        {"type": "integer", "minimum": 0},
        required=False,
    ),
    Header(
        "RateLimit-Remaining",
        "On limited routes: how many of them are left.",
        {"type": "integer", "minimum": 0},
        required=False,
    ),
    Header(
        "RateLimit-Reset",
        "On limited routes: in how many seconds there is room again.",
        {"type": "integer", "minimum": 0},
        required=False,
    ),
)
LINK: Final = Header("Link", "Where to read on: first, prev, next, last (RFC 8288).")
REPLAYED: Final = Header(
    "Idempotency-Replayed", "`true` when this is the stored first answer.", required=False
)
ETAG: Final = Header("ETag", "What this state of the content is known by (RFC 9110, §8.8.3).")

SET_COOKIE: Final = Header(
    "Set-Cookie",
    "For browsers: the tokens (`access_token`, `refresh_token`, which scripts cannot read) and "
    "`csrf_token`, set, or taken away with the session.",
    required=False,
)
CSRF_TOKEN: Final = Header(
    "X-CSRF-Token",
    "With cookies: the value of the cookie `csrf_token`, for pages that cannot read it.",
    required=False,
)

TOKEN_TRANSPORT: Final = Header(
    "X-Token-Transport",
    "`cookie` puts the tokens into cookies instead of the body. Tokens that came in cookies are "
    "renewed in cookies.",
    {"type": "string", "enum": ["cookie"]},
    required=False,
)
SENT_REQUEST_ID: Final = Header(
    "X-Request-ID", "An id for the request, to find it again in logs.", required=False
)
LAST_EVENT_ID: Final = Header(
    "Last-Event-ID", "The id of the last event at hand: what follows it is sent.", required=False
)
BUFFERING: Final = Header(
    "X-Accel-Buffering", "Tells a proxy not to hold events back.", required=False
)
IF_MATCH: Final = Header(
    "If-Match",
    "Change only one of these states: when none is current, 412.",
    _ENTITY_TAGS,
    required=False,
)
IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key",
    "A key of the client's own: what is sent again with it within 24 hours is done once.",
    {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    required=False,
)
IF_NONE_MATCH: Final = Header(
    "If-None-Match",
    "The entity tags at hand: when one is current, 304.",
    _ENTITY_TAGS,
    required=False,
)
