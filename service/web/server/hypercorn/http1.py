"""HTTP/1.1 of Hypercorn, with what RFC 9112 asks for at the end of requests and connections.

Hypercorn 0.18 closes the connection without a word when an application answers before it has read
the body (pgjones/hypercorn issue 314), so that the client's next request is lost; here what is left
of the body is discarded. It
also takes up `Upgrade: h2c`, which leads requests past the rules of a proxy in front, cancels a
request whose client has closed its own half of the connection, and serves methods in lower case.
"""

import asyncio
from dataclasses import replace
from typing import Any, ClassVar, Final

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import events as stream_events
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from service.web.server import bounds
from service.web.server.hypercorn.discarding import DiscardingStream, Sink
from service.web.server.hypercorn.expectation import ContinuingApp
from service.web.server.hypercorn.head import Head

_CLOSE: Final = (b"connection", b"close")


class HalfClosed(Event):
    """The service sends nothing more on this connection, but goes on reading."""


class Http1Protocol(H11Protocol):
    """A connection by HTTP/1.1 or 1.0."""

    http2_prior_knowledge: ClassVar[bool] = False

    connection: Any  # h11's, Hypercorn's for WebSockets, or Sink
    stream: Any  # Hypercorn's, or DiscardingStream

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: Head | None = None
        self._unsent = b""
        self._continue_awaited = False
        self._at_eof = False
        self._response: stream_events.Response | None = None
        self._response_over: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def handle(self, event: Event) -> None:
        """Take what the client sent, or the end of the connection."""
        if isinstance(event, RawData):
            self._at_eof = not event.data
            self.connection.receive_data(event.data)
            if (
                isinstance(self.connection, Sink)
                and self.connection.received > bounds.MAX_DISCARDED
            ):
                await self.send(Closed())
            await self._handle_events()
        elif isinstance(event, Closed):
            if self._is_half_closed():
                await self._finish_response()
            self.stop_timers()
            await self._close_stream()
            if self._response_over is not None:
                self._response_over.set()

    async def _handle_events(self) -> None:
        while True:
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                if event.http_version[:1] != b"1":
                    await self._assume_http2(event)
                    return
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA:
                return
            elif self.stream is not None:
                await self._pass_on(event)

    async def _pass_on(self, event: Any) -> None:
        """Give the stream a part of its request's body."""
        if isinstance(event, h11.Data):
            self._continue_awaited = False
            await self.stream.handle(stream_events.Body(stream_id=STREAM_ID, data=event.data))
        elif isinstance(event, h11.EndOfMessage):
            self._continue_awaited = False
            await self.stream.handle(stream_events.EndBody(stream_id=STREAM_ID))
        else:
            await self.stream.handle(event)  # of a WebSocket

    async def _create_stream(self, request: h11.Request) -> None:
        self._head = head = Head(request)
        self._continue_awaited = head.expects_continue
        self._response = None
        if head.ambiguous:
            await self._refuse(400)
            return
        if head.websocket:
            await super()._create_stream(request)
            return
        app: Any = self.app
        if head.expects_continue:
            app = ContinuingApp(app, self._send_continue)
        self.stream = HTTPStream(
            app, self.config, self.context, self.task_group, self.ssl, self.client, self.server,
            self.stream_send, STREAM_ID,
        )  # fmt: skip
        await self.stream.handle(
            stream_events.Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _send_continue(self) -> None:
        if self._continue_awaited:
            self._continue_awaited = False
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def stream_send(self, event: stream_events.Event) -> None:
        """Send a part of the response."""
        if isinstance(event, stream_events.Response):
            if self._ends_with(event) and _CLOSE not in event.headers:
                event = replace(event, headers=[*event.headers, _CLOSE])
            self._response = event
            self._continue_awaited = False
        await super().stream_send(event)
        if self._response_over is not None and (
            isinstance(event, stream_events.StreamClosed) or self._is_endless()
        ):
            self._response_over.set()

    async def _send_h11_event(self, event: Any) -> None:
        """Send a part of a response, the headers together with what follows them at once.

        Each write is a system call and a packet of its own, and they are the dearest part of a
        small response.
        """
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        data, self._unsent = self._unsent + data, b""
        if isinstance(event, h11.Response) and _is_followed_at_once(event):
            self._unsent = data
        elif data:
            await self.send(RawData(data=data))

    def _ends_with(self, response: stream_events.Response) -> bool:
        """Whether the response, which is about to be sent, is the last on the connection."""
        head = self._head
        if head is None or self.connection.their_state is not h11.SEND_BODY:
            return False
        if response.status_code == 408:  # the client sends no more (RFC 9110, §15.5.9)
            return True
        return self._continue_awaited or not head.discardable

    async def _maybe_recycle(self) -> None:
        connection = self.connection
        if isinstance(connection, Sink):
            return
        # The next request may come in an hour.
        self._head = self._response = None
        goes_on = connection.our_state is h11.DONE and not self.context.terminated.is_set()
        unread = connection.their_state is h11.SEND_BODY
        ends = not goes_on and connection.our_state in {h11.DONE, h11.MUST_CLOSE}
        if goes_on and unread:
            await self._discard_body()
        elif ends and (unread or connection.trailing_data[0]):
            await self._linger()
        else:
            await super()._maybe_recycle()

    async def _discard_body(self) -> None:
        """Discard the rest of the body; then the next request may come."""
        # At once, so that no part of the body finds no stream.
        stream, self.stream = self.stream, DiscardingStream(self._start_next)
        self._start_timer()
        if stream is not None:
            await stream.handle(stream_events.StreamClosed(stream_id=STREAM_ID))

    async def _start_next(self) -> None:
        self.stop_timers()
        self.stream = None
        await super()._maybe_recycle()

    async def _linger(self) -> None:
        """Close this half of the connection, and the other when the client has read the response.

        RFC 9112, §9.6.
        """
        self.connection = Sink()
        self._start_timer()
        await self._close_stream()
        await self.can_read.set()
        await self.send(HalfClosed())

    async def _refuse(self, status: int) -> None:
        """Answer what is not HTTP/1.1, if nothing was answered yet, and end the connection."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send_error_response(status)
            await self._linger()
        else:
            await self.send(Closed())

    async def _assume_http2(self, request: h11.Request) -> None:
        """Go over to HTTP/2 at its preface (RFC 9113, §3.4) where that is wanted, else refuse."""
        preface = (request.method, request.target, request.http_version) == (b"PRI", b"*", b"2.0")
        if not (preface and self.http2_prior_knowledge):
            await self._refuse(505)
            return
        following = self.connection.trailing_data[0]
        raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + following)

    def _is_half_closed(self) -> bool:
        """Whether the client may still read the response to its complete request."""
        # TLS knows no half-closed connections, and asyncio closes both halves.
        if not self._at_eof or self.ssl or self._response_over is not None or self.stream is None:
            return False
        complete = self.connection.their_state in {h11.DONE, h11.MUST_CLOSE, h11.CLOSED}
        return complete and not self._is_endless()

    def _is_endless(self) -> bool:
        """Whether the response is a stream, such as one of events."""
        response = self._response
        return (
            response is not None
            and self.connection.our_state is h11.SEND_BODY
            and all(name.lower() != b"content-length" for name, _ in response.headers)
        )

    async def _finish_response(self) -> None:
        self._response_over = asyncio.Event()
        try:
            async with asyncio.timeout(bounds.HALF_CLOSE_GRACE):
                await self._response_over.wait()
        except TimeoutError:
            pass

    def _start_timer(self) -> None:
        self.stop_timers()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            bounds.DISCARD_TIME, self.task_group.spawn, self.send, Closed()
        )

    def stop_timers(self) -> None:
        """Stop what waits for the end of a body."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_followed_at_once(response: h11.Response) -> bool:
    """Whether the rest of a response is ready: a stream's first part may come in an hour."""
    return response.status_code in bounds.BODILESS or any(
        name == b"content-length" for name, _ in response.headers
    )
