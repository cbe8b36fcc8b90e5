"""What README asks of curl, for a machine that has none: a POST when there is data, else a GET."""

import argparse
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def main() -> None:
    """Send one request and write the answer's body."""
    options = argparse.ArgumentParser()
    options.add_argument("-s", action="store_true")
    options.add_argument("-w", default="")
    options.add_argument("-H", action="append", default=[])
    options.add_argument("-d")
    options.add_argument("url")
    given = options.parse_args()
    headers = dict(line.split(": ", 1) for line in given.H)
    data = given.d.encode() if given.d else None
    try:
        with urlopen(Request(given.url, data, headers), timeout=30) as answer:
            body = answer.read()
    except HTTPError as error:
        with error:
            body = error.read()
    sys.stdout.buffer.write(body + given.w.encode().decode("unicode_escape").encode())


if __name__ == "__main__":
    main()
