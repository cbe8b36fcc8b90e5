"""The parser of the requests of a connection: httptools, and the checks that it leaves to others.

httptools keeps the line that it reads until its end, however long it is, takes the fields after a
chunked body for headers, and leaves to another protocol what follows a head with `Upgrade` or
CONNECT. Parsed further, the body of such a request would be read as requests; so it is left to a
new parser, which has seen a head that announces the same body and nothing else.

The parser also serves the request lines of RTSP and ICE, and does not say which protocol it read.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httptools

from service.web.server.uvicorn.head import Head, Headers, Refused, read_head

# What the parser says of another version than HTTP/1, among other words.
_OTHER_VERSION: Final = ("HTTP version", "HTTP/2", "PRI/")
_BLANK: Final = b" \t"
_END: Final = b"\n\r\n"  # of a head
# A request line: its target and its protocol.
_LINE: Final = re.compile(rb"(?:^|\n)[A-Z_-]+ +([^ \r\n]+) +([A-Z]+)/")


class Receiver(Protocol):
    """What is called for each request."""

    def begin_request(self, head: Head) -> None:
        """Take the head of a request."""

    def add_to_body(self, data: bytes) -> None:
        """Take a part of its body."""

    def end_request(self) -> None:
        """Take its end."""


class RequestReader:
    """The parser of a connection.

    `common` is what all scopes hold, `limit` the most bytes of a head.
    """

    __slots__ = (
        "_body_header", "_common", "_headers", "_in_body", "_kept", "_last", "_limit", "_parser",
        "_raw", "_receiver", "_target", "has_rest",
    )  # fmt: skip

    def __init__(self, receiver: Receiver, common: Mapping[str, Any], limit: int) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self._receiver: Receiver | None = receiver
        self._common = common
        self._limit = limit
        self._target = b""
        self._headers: Headers | None = None  # of the head that is being read
        self._raw = bytearray()  # as it came, with what came before and after
        self._in_body = False
        # The header that announces the body of a request that asks for another protocol.
        self._body_header = b""
        # Whether the request being read, or the one read before, is the last of the connection.
        self._last = False
        # Whether anything follows the last request.
        self.has_rest = False
        # Bytes since the last event, which the parser may have kept.
        self._kept = 0

    @property
    def between_requests(self) -> bool:
        """Whether no request has begun that has not ended."""
        return self._headers is None and not self._in_body

    def feed(self, data: memoryview) -> None:
        """Parse what the client sent. Raises Refused when it is no request that is served."""
        while data and not self.has_rest:
            self._kept += len(data)
            self._raw += data
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:  # is ignored (RFC 9110, §7.8)
                data = data[upgrade.args[0] :]
                self._go_on()
                continue
            except httptools.HttpParserError as error:
                self.has_rest = self._last and self.between_requests
                if self.has_rest:
                    return
                raise self._refusal(error) from None
            break
        if self._headers is None:
            self._raw.clear()
        elif (end := self._raw.rfind(_END)) >= 0:
            del self._raw[: end + len(_END)]  # of a head before this one
        if self._kept > self._limit:
            raise Refused(431)

    def _go_on(self) -> None:
        """Read the body of a request that asked for another protocol, if it has one."""
        if self._body_header:
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + self._body_header + b"\r\n\r\n")
            self._body_header = b""

    def close(self) -> None:
        """Drop the parser, which refers to this reader, and the receiver."""
        self._parser = self._receiver = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._body_header:  # it is known
            return
        if self._last:
            raise Refused(400)  # feed() takes it for the rest that it is
        self._target = b""
        self._headers = []

    def on_url(self, part: bytes) -> None:
        """Take a part of the request's target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; fields after the body are ignored (RFC 9110, §6.5.1)."""
        if self._headers is not None:
            self._headers.append((name.lower(), value.rstrip(_BLANK)))

    def on_headers_complete(self) -> None:
        """Pass the head on. Raises Refused."""
        if self._body_header:  # it was passed on
            return
        headers, self._headers = self._headers or [], None
        parser = self._parser
        if self._kept > self._limit:
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self._limit:
                raise Refused(431)
        self._kept = 0
        method = parser.get_method().decode("ascii")
        # Only ICE has this method.
        if (b"RTSP/" in self._raw or method == "SOURCE") and self._has_other_protocol():
            raise Refused(400)
        head = read_head(
            method, self._target, parser.get_http_version(), headers,
            self._common, keep_alive=parser.should_keep_alive(),
        )  # fmt: skip
        self._in_body = True
        self._last = not head.keep_alive
        if parser.should_upgrade():
            self._body_header = _find_body_header(headers)
        if self._receiver is not None:
            self._receiver.begin_request(head)

    def on_body(self, data: bytes) -> None:
        """Pass a part of the body on."""
        self._kept = 0
        if self._receiver is not None:
            self._receiver.add_to_body(data)

    def on_message_complete(self) -> None:
        """Pass the end of the request on."""
        if self._body_header:  # for the parser it ends with its head
            return
        self._kept = 0
        self._in_body = False
        if self._receiver is not None:
            self._receiver.end_request()

    def _has_other_protocol(self) -> bool:
        """Whether the request line names another protocol; it is not looked at again."""
        for line in _LINE.finditer(bytes(self._raw)):
            if line[1] == self._target:
                del self._raw[: line.end()]
                return line[2] != b"HTTP"
        return False

    def _refusal(self, error: httptools.HttpParserError) -> Refused:
        cause = error.__context__
        if isinstance(cause, Refused):
            return Refused(cause.status)
        if isinstance(error, httptools.HttpParserCallbackError):
            raise error
        other_version = any(words in str(error) for words in _OTHER_VERSION)
        return Refused(505 if other_version and not self._has_other_protocol() else 400)


def _find_body_header(headers: Headers) -> bytes:
    """Return the line that announces a body (RFC 9112, §6.3), or nothing."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and int(value)):
            return b"%b: %b" % (name, value)
    return b""
