"""docs/guide.md, docs/glossary.md and README's table "Where is …?" name what is in the code."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from service.settings import PROJECT, Settings

GUIDE = (PROJECT / "docs" / "guide.md").read_text()
GLOSSARY = (PROJECT / "docs" / "glossary.md").read_text()
README = (PROJECT / "README.md").read_text()
WHERE = README.partition("\n## Where is …?\n")[2].partition("\n## ")[0]
# Routes and fixtures are in both.
CODE = [path for room in ("service", "tests") for path in (PROJECT / room).rglob("*.py")]
# `name`, `Class.name`, `@name`, with a call's parentheses or without.
NAME = re.compile(r"@?([A-Za-z_]\w*)(?:\.([A-Za-z_]\w*))?(\(.*\))?")
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def code_in(text: str) -> Iterator[str]:
    """What stands in backquotes, but for what is said of Flask."""
    for line in text.splitlines():
        if not line.startswith("**Flask:**"):
            yield from re.findall(r"`([^`]+)`", line)


def bound_names(tree: ast.AST) -> Iterator[str]:
    """The names that a module or a class makes: functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.rpartition(".")[2]


@cache
def definitions() -> tuple[set[str], dict[str, set[str]]]:
    """All names that the code makes or imports, and those within each class."""
    names: set[str] = set()
    classes: dict[str, set[str]] = defaultdict(set)
    for path in CODE:
        tree = ast.parse(path.read_text())
        names.update(bound_names(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes[node.name].update(bound_names(node))
    return names, classes


@cache
def words() -> set[str]:
    """All words of the code: names of libraries, of settings, in strings."""
    found = {word for path in CODE for word in re.findall(r"\w+", path.read_text())}
    return found | {name.upper() for name in Settings.model_fields}


def exists(code: str) -> bool:
    """Whether a name is in the code; True for what is no name, such as a command."""
    found = NAME.fullmatch(code)
    if not found or (PROJECT / code).exists():
        return True
    first, second, call = found.groups()
    names, classes = definitions()
    if second:
        # Of a class of ours the member; of a library's module, such as `gc.freeze`, the words.
        return second in classes[first] if first in classes else {first, second} <= words()
    return first in (names if call else words())


def test_names_in_the_guide_exist() -> None:
    assert [code for code in code_in(GUIDE) if not exists(code)] == []


def test_names_in_the_glossary_exist() -> None:
    assert [code for code in code_in(GLOSSARY) if not exists(code)] == []


def test_names_are_where_the_readme_says() -> None:
    """Each name in the table is made in the file that is named next."""
    pairs = re.findall(r"`([\w.]+)` in `([\w./]+)`", WHERE)
    assert len(pairs) >= 6
    missing = [
        (name, path)
        for name, path in pairs
        if not re.search(rf"\b{name.rpartition('.')[2]}\(|class {name}\b", text_of(path))
    ]
    assert missing == []


def text_of(path: str) -> str:
    return (PROJECT / path).read_text()


def test_guide_has_every_part_of_each_section() -> None:
    sections = re.split(r"\n## .*\n", GUIDE)[1:]
    assert len(sections) == 16
    parts = ["Flask", "Here", "Why", "Read"]
    assert [re.findall(r"(?m)^\*\*(\w+):\*\* ", text) for text in sections] == [parts] * 16
