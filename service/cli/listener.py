"""The socket that `service run` listens on."""

import errno
import socket
from typing import Final

import click

BACKLOG: Final = 1024


def listen(host: str, port: int) -> socket.socket:
    """Listen on the address; port 0 takes a free one. Raises ClickException."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _bound(family, address)
    except OSError as error:
        raise click.ClickException(_explain(error, host, port)) from error


def _bound(family: int, address: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)  # type: ignore[arg-type] # as getaddrinfo made it
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"HOST: {host} is no address of this machine."
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: set PORT to another one (0: any that is free)."
    if error.errno == errno.EACCES:
        return f"Port {port} is not open to this user: set PORT to 1024 or higher."
    return f"It is not possible to listen on {host}, port {port}: {error.strerror}."
