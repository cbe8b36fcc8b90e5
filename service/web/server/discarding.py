"""The bounds within which a body is read and thrown away after its request was answered.

A connection that is closed while its client still sends is reset, and the reset may destroy an
answer that the client has not read yet (RFC 9112, §9.6).
"""

from typing import Final

# Bytes, whatever MAX_CONTENT_LENGTH is; none of them is kept.
MAX_DISCARDED: Final = 16 * 2**20
# Seconds from the end of the response on.
DISCARD_TIME: Final = 5.0
