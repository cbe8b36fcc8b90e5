"""Responses of urllib's are closed, failures too: from Python 3.14 on an unclosed one warns."""

import ast
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from service.settings import PROJECT
from service.testing.server import Server
from tests.support.command import fetch

FOLDERS = ("alembic", "benchmarks", "service", "tests")


def test_fetch_closes_the_failure_that_it_raises(service_server: Server) -> None:
    with pytest.raises(HTTPError, match="404") as caught:
        fetch(f"{service_server.url}/nowhere")
    assert caught.value.closed


def unclosed(path: Path) -> Iterator[str]:
    """The lines of a file that open a response, or catch a failure, outside of a `with`."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    closed = {
        item.context_expr for node in nodes if isinstance(node, ast.With) for item in node.items
    }
    for node in nodes:
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("urlopen")
            and node not in closed
        ):
            yield f"{path.relative_to(PROJECT)}:{node.lineno}"
        if isinstance(node, ast.ExceptHandler) and "HTTPError" in ast.unparse(node.type or node):
            names = {one.id for one in closed if isinstance(one, ast.Name)}
            if node.name not in names and path.name != "__main__.py":
                yield f"{path.relative_to(PROJECT)}:{node.lineno}"


def test_every_response_of_urllib_is_closed() -> None:
    files = (path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py")))
    assert [line for path in files for line in unclosed(path)] == []
