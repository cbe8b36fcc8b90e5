"""The rules of prose that a program can check."""

import ast
from collections.abc import Iterator

from service.settings import PROJECT

# A docstring says what is returned, raised or meant: these verbs say it by a detour.
BANNED = {"Tell", "Let", "Be", "Know"}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings() -> Iterator[tuple[str, str]]:
    """The first line of every docstring of the service, with its place as `path:line`."""
    for path in sorted((PROJECT / "service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Documented) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(PROJECT)}:{node.body[0].lineno}", text.split("\n")[0]


def test_no_docstring_begins_with_a_banned_verb() -> None:
    found = [f"{place}: {text}" for place, text in docstrings() if text.split()[0] in BANNED]
    assert not found, "\n".join(found)
