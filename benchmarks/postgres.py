"""Hold the embedded PostgreSQL of a folder until standard input ends; print its address."""

import sys
from pathlib import Path

from service.embedded import start

# All peers' pools for all numbers of posts are open at once.
CONNECTIONS = "max_connections = 300\n"


def make_room(folder: Path) -> None:
    """Let the server of a folder take that many from its next start on."""
    with start(folder) as server:
        settings = server.data_dir / "data" / "postgresql.auto.conf"
        if CONNECTIONS not in settings.read_text():
            with settings.open("a") as file:
                file.write(CONNECTIONS)


if __name__ == "__main__":
    make_room(Path(sys.argv[1]))
    with start(Path(sys.argv[1])) as server:
        print(server.url("postgres"), flush=True)
        sys.stdin.read()
