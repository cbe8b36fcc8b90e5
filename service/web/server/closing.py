"""The end of connections whose clients may read nothing."""

import asyncio

from service.web.server import bounds
from service.web.server.timers import call_later, call_soon


def close(transport: asyncio.WriteTransport) -> None:
    """Close a connection, and abort it once its client has read nothing for UNREAD_TIME seconds.

    A transport that is closed waits until its client has read what was sent. Over TLS, asyncio
    itself aborts it after 30 s.
    """
    if not transport.is_closing():
        abort_when_unread(transport)
        transport.close()


def abort_when_unread(transport: asyncio.WriteTransport) -> None:
    """Abort a connection that is about to be closed once its client reads nothing of the rest."""
    if not transport.is_closing() and transport.get_extra_info("sslcontext") is None:
        call_soon(_watch, transport)  # uvloop writes at the end of a turn


def _watch(transport: asyncio.WriteTransport, before: int | None = None) -> None:
    unread = transport.get_write_buffer_size()
    if before is not None and unread >= before:
        transport.abort()
    elif unread:
        call_later(bounds.UNREAD_TIME, _watch, transport, unread)
