"""What answers a client of PostgreSQL that asks for TLS, and then does something wrong."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket], None]


def refuse(client: socket.socket) -> None:
    """Offer no TLS."""
    client.sendall(b"N")


def fail(client: socket.socket) -> None:
    """Answer with an error."""
    client.sendall(b"E\0\0\0\5\0")


def babble(client: socket.socket) -> None:
    """Take TLS up, and then speak something else."""
    client.sendall(b"S")
    client.recv(1)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def handshake(context: ssl.SSLContext) -> Answer:
    """Show a certificate."""

    def answer(client: socket.socket) -> None:
        client.sendall(b"S")
        context.wrap_socket(client, server_side=True).close()

    return answer


@contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """A port at which every client that asks for TLS gets this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # closed
                while True:
                    client, _ = server.accept()
                    with client, suppress(OSError):
                        client.settimeout(5)
                        client.recv(8)
                        answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
