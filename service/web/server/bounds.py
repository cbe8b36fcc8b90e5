"""The bounds of responses, and of what follows them on their connections, for every server."""

from typing import Final

# Bytes of a body that are read and thrown away after its request was answered, whatever
# MAX_CONTENT_LENGTH is; none of them is kept. A connection that is closed while its client still
# sends is reset, and the reset may destroy an answer that the client has not read yet (RFC 9112,
# §9.6).
MAX_DISCARDED: Final = 16 * 2**20
# Seconds for that, from the end of the response on.
DISCARD_TIME: Final = 5.0
# Seconds without progress after which a connection that is to end is aborted, although its client
# has not read all that was sent. On a slow line the kernel's own buffer hides progress for a while;
# over TLS asyncio takes as long (ssl_shutdown_timeout).
UNREAD_TIME: Final = 30.0
# Seconds for which a request goes on after its client has closed at least its half of the
# connection: which of both it was shows only when something is sent.
HALF_CLOSE_GRACE: Final = 3.0
# Statuses of responses that never have a body (RFC 9110, §15.3.5 and §15.4.5).
BODILESS: Final = frozenset({204, 304})
