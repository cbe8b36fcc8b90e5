"""HTTP/2 of Hypercorn, with what RFC 9113 asks for when a response comes before the request's end.

Hypercorn 0.18 fails with the whole connection when a client sends more of a body whose request was
answered (pgjones/hypercorn issue 329), when a path is not ASCII, and at a CONNECT without a path;
here what is left of a body is discarded, and the other requests of a connection go on. Hypercorn
also takes a connection for busy for ever once its last stream was reset, and leaves a stream open
whose response breaks off.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.events import Event as FrameEvent
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, Event
from hypercorn.protocol import events as stream_events
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import filter_pseudo_headers
from priority.priority import DuplicateStreamError

from service.web.server import bounds
from service.web.server.hypercorn.expectation import EXPECTED, ContinuingApp


@dataclass
class Upload:
    """A request whose end has not come."""

    discarded: int = 0  # bytes
    timer: asyncio.TimerHandle | None = None  # from the end of the response on

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Http2Protocol(H2Protocol):
    """A connection by HTTP/2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._uploads: dict[int, Upload] = {}

    async def handle(self, event: Event) -> None:
        """Take what the client sent, or the end of the connection."""
        if isinstance(event, Closed):
            self.stop_timers()
        await super().handle(event)

    def stop_timers(self) -> None:
        """Stop what waits for the ends of bodies."""
        for upload in self._uploads.values():
            upload.stop_timer()
        self._uploads.clear()

    async def _handle_events(self, events: list[FrameEvent]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                await self._discard(event)
                continue
            if isinstance(event, RequestReceived) and event.stream_ended is None:
                self._uploads[event.stream_id] = Upload()
            elif isinstance(event, StreamEnded | StreamReset):
                self._end_upload(event.stream_id)
            await super()._handle_events([event])
            if isinstance(event, RequestReceived | StreamReset):
                await self._note_reset(event.stream_id)
        await self._flush()

    async def _note_reset(self, stream_id: int) -> None:
        """Have the connection be idle if a stream has ended without a response, as the last one."""
        if stream_id not in self.streams:
            await self.stream_send(stream_events.StreamClosed(stream_id))

    async def _discard(self, event: DataReceived) -> None:
        """Discard a part of a body whose request was answered, and let the client go on."""
        size = event.flow_controlled_length
        self.connection.acknowledge_received_data(size, event.stream_id)
        upload = self._uploads.get(event.stream_id)
        if upload is not None:
            upload.discarded += size
            if upload.discarded > bounds.MAX_DISCARDED:
                await self._stop_upload(event.stream_id)

    def _end_upload(self, stream_id: int) -> None:
        upload = self._uploads.pop(stream_id, None)
        if upload is not None:
            upload.stop_timer()

    async def _stop_upload(self, stream_id: int) -> None:
        """Ask the client to stop sending; its response is complete (RFC 9113, §8.1)."""
        self._end_upload(stream_id)
        with suppress(ProtocolError):  # the stream has ended
            self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        await self._flush()

    async def stream_send(self, event: stream_events.Event) -> None:
        """Send a part of a response."""
        stream = self.streams.get(event.stream_id)
        await super().stream_send(event)
        if isinstance(event, stream_events.StreamClosed):
            if isinstance(stream, HTTPStream) and stream.state is not ASGIHTTPState.CLOSED:
                await self._break_off(event.stream_id)
            upload = self._uploads.get(event.stream_id)
            if upload is not None and upload.timer is None:
                upload.timer = asyncio.get_running_loop().call_later(
                    bounds.DISCARD_TIME, self.task_group.spawn, self._stop_upload, event.stream_id
                )

    async def _break_off(self, stream_id: int) -> None:
        """Show the client that its response is not complete, and never will be."""
        self._end_upload(stream_id)
        with suppress(ProtocolError):  # the stream has ended
            self.connection.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
        await self._window_updated(stream_id)  # so that what is left of it is dropped
        await self._flush()

    async def _create_stream(self, request: RequestReceived) -> None:
        headers: dict[bytes, bytes] = dict(request.headers)
        method, path = headers[b":method"], headers.get(b":path", b"")
        stream_id = request.stream_id
        if not (method + path).isascii():
            self.connection.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
            self._end_upload(stream_id)
            await self._count_request()
            return
        if b":protocol" in headers:  # a WebSocket (RFC 8441, §4)
            await super()._create_stream(request)
            return
        app: Any = self.app
        if headers.get(b"expect", b"").lower() == EXPECTED and request.stream_ended is None:
            app = ContinuingApp(app, partial(self._send_continue, stream_id))
        self.streams[stream_id] = stream = HTTPStream(
            app, self.config, self.context, self.task_group, self.ssl, self.client, self.server,
            self.stream_send, stream_id,
        )  # fmt: skip
        self._prepare_to_send(stream_id)
        await stream.handle(
            stream_events.Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(request.headers),
                http_version="2",
                method=method.decode(),
                raw_path=path,
                state=self.connection_state,
            )
        )
        await self._count_request()

    async def _count_request(self) -> None:
        self.keep_alive_requests += 1
        await self.context.mark_request()

    def _prepare_to_send(self, stream_id: int) -> None:
        self.stream_buffers[stream_id] = StreamBuffer(self.context.event_class)
        with suppress(DuplicateStreamError):  # a PRIORITY frame came before
            self.priority.insert_stream(stream_id)
            self.priority.block(stream_id)

    async def _send_continue(self, stream_id: int) -> None:
        informational = stream_events.InformationalResponse(stream_id, [], 100)
        await self.stream_send(informational)
