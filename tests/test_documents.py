"""The documentation: its links lead somewhere, its paths and tests exist, its words are plain."""

import ast
import re
from pathlib import Path

import pytest

from service.settings import PROJECT

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
# What has comments, and is no Python.
COMMENTED = [
    *(PROJECT / name for name in (".env.example", "Dockerfile", "Makefile", "docker-compose.yml")),
    PROJECT / "hypercorn.toml",
    *sorted(path for path in (PROJECT / "deploy").rglob("*") if path.is_file()),
    *sorted((PROJECT / "examples" / "browser").iterdir()),
]
TOP = "alembic|benchmarks|deploy|docs|examples|requirements|service|tests"
PATH = re.compile(rf"(?<![\w/.@:-])(?:{TOP})/[\w./@-]*\w|(?<![\w/.@:-])(?:{TOP})/(?=[\s`)])")
# A test, as pytest names it.
NODE = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
# The field's term says it better; the code's docstrings do without them, too.
DETOUR = re.compile(r"\b(tell|tells|told|whoever)\b", re.IGNORECASE)


def name_of(path: Path) -> str:
    """A file's name, for a failure report."""
    return str(path.relative_to(PROJECT))


every = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def functions(file: str) -> set[str]:
    """The names of a file's functions; none when there is no such file."""
    path = PROJECT / file
    tree = ast.parse(path.read_text() if path.exists() else "")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@every
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", [*DOCUMENTS, *COMMENTED], ids=name_of)
def test_paths_exist(path: Path) -> None:
    text = re.sub(r"\]\([^)]+\)", "]", path.read_text())
    assert [found for found in PATH.findall(text) if not (PROJECT / found).exists()] == []


@every
def test_named_tests_exist(path: Path) -> None:
    named = NODE.findall(path.read_text())
    assert [f"{file}::{name}" for file, name in named if name not in functions(file)] == []


def test_every_threat_names_a_test() -> None:
    """Each row of the tables of threats in docs/security.md ends with the tests that show it."""
    _, _, threats = (PROJECT / "docs" / "security.md").read_text().partition("\n## Threats\n")
    rows = re.findall(r"^\| (?!threat).*", threats.partition("\n## ")[0], re.MULTILINE)
    assert rows
    assert [row for row in rows if not NODE.search(row.rsplit("|", 2)[1])] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, *COMMENTED], ids=name_of)
def test_words_are_plain(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), 1)
    assert [f"{number}: {line}" for number, line in lines if DETOUR.search(line)] == []


@every
def test_each_sentence_has_a_line_of_its_own(path: Path) -> None:
    """Outside of code, tables and headings."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", path.read_text())
    lines = [line for line in text.splitlines() if not re.match(r"\||#|    \w", line)]
    assert [line for line in lines if re.search(r"[a-z)`*][.?!] +[A-Z`*]", line)] == []
