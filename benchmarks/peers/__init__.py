"""The applications that the benchmark measures and the commands that serve them.

A new peer is one entry of PEERS.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Environment = Literal["production", "bench"]
POST = frozenset({"post", "post512"})


@dataclass(frozen=True)
class Peer:
    """One way to serve the routes.

    `command` follows the interpreter of `environment`. It runs `processes` times, each on a port
    of its own, which replaces `{port}`: so the connections divide evenly, as a proxy's would over
    replicas, where processes that share a port get whatever the kernel gives them.
    """

    name: str
    command: str
    environment: Environment = "bench"
    schema: Literal["service", "peers"] = "peers"
    processes: int = 2
    only: frozenset[str] | None = None  # the scenarios it can answer; None: all of its schema
    python: Path | None = None  # an interpreter of its own; None: the environment's


SERVE = "-m service serve --bind 127.0.0.1:{port}"
HYPERCORN = "-m hypercorn --config hypercorn.toml --bind 127.0.0.1:{port} "
GUNICORN = "-m gunicorn -w 4 --keep-alive 75 -b 127.0.0.1:{port} "
UVICORN = (
    "uvicorn --loop uvloop --http httptools --timeout-keep-alive 75"
    " --no-access-log --log-level warning --port {port} "
)
FLASK = "benchmarks.peers.flask_app:create_app()"
BARE = "benchmarks.peers."
BORROW = "-m benchmarks.peers.borrow "

PEERS = {
    peer.name: peer
    for peer in (
        Peer("service", SERVE, "production", "service"),
        Peer("flask", GUNICORN + "-k gthread --threads 4 " + FLASK, processes=1),
        Peer("flask-sync", GUNICORN + FLASK, processes=1),
        Peer("fastapi", "-m " + UVICORN + "benchmarks.peers.fastapi_app:app"),
        Peer("bare", HYPERCORN + BARE + "bare:app", "production", "service", only=POST),
        Peer(
            "bare-asyncpg",
            HYPERCORN + BARE + "bare_asyncpg:app",
            "production",
            "service",
            only=POST,
        ),
        Peer(
            "granian",
            BORROW + "granian --interface asgi --loop uvloop --no-access-log --log-level warning"
            " --port {port} service.asgi:app",
            "production",
            "service",
        ),
        Peer("uvicorn", BORROW + UVICORN + "service.asgi:app", "production", "service"),
    )
}
DEFAULT = ("service", "flask", "fastapi", "bare", "bare-asyncpg")
