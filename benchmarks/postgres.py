"""Hold the embedded PostgreSQL of a folder until standard input ends; print its address."""

import sys
from pathlib import Path

from service.embedded_postgres import start

if __name__ == "__main__":
    with start(Path(sys.argv[1])) as server:
        print(server.url("postgres"), flush=True)
        sys.stdin.read()
