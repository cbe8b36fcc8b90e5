"""The documentation: its links lead somewhere, its paths exist, its words are plain."""

import json
import re
import shutil
from pathlib import Path

import pytest

from service.settings import PROJECT
from tests.support.command import fetch, started

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
# The field's term says it better; the code's docstrings do without them, too.
DETOUR = re.compile(r"\b(tell|tells|told|whoever)\b", re.IGNORECASE)

every = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


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


@pytest.mark.parametrize("path", [*DOCUMENTS, *COMMENTED], ids=lambda path: path.name)
def test_paths_exist(path: Path) -> None:
    text = re.sub(r"\]\([^)]+\)", "]", path.read_text())
    assert [found for found in PATH.findall(text) if not (PROJECT / found).exists()] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, *COMMENTED], ids=lambda path: path.name)
def test_words_are_plain(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), 1)
    assert [f"{number}: {line}" for number, line in lines if DETOUR.search(line)] == []


@every
def test_each_sentence_has_a_line_of_its_own(path: Path) -> None:
    """Outside of code, tables and headings."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", path.read_text())
    lines = [line for line in text.splitlines() if not re.match(r"\||#|    \w", line)]
    assert [line for line in lines if re.search(r"[a-z)`*][.?!] +[A-Z`*]", line)] == []


def test_route_of_the_readme_answers(database_url: str, tmp_path: Path) -> None:
    """The recipe "A route", followed on a copy of the code."""
    project = tmp_path / "project"
    for folder in ("service", "alembic"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / folder, project / folder, ignore=ignored)
    shutil.copy(PROJECT / "alembic.ini", project)
    readme = (PROJECT / "README.md").read_text()
    recipe = readme.partition("**A route.**")[2].partition("**A column.**")[0]
    steps = re.findall(r"`service/posts/(\w+)\.py`.*?```python\n(.*?)```", recipe, re.DOTALL)
    assert [name for name, _ in steps] == ["schemas", "queries", "routes"]
    for name, code in steps:
        file = project / "service" / "posts" / f"{name}.py"
        imports = "from service.posts.schemas import PostTotal\n" if name == "routes" else ""
        file.write_text(file.read_text() + "\n\n" + imports + re.sub(r"(?m)^   ", "", code))
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    with started("run", cwd=tmp_path, project=project, **options) as server:
        address = server.until("Serving on ")
        assert json.loads(fetch(f"{address}/api/posts/count")) == {"total": 0}
        described = json.loads(fetch(f"{address}/openapi.json"))
    assert "/api/posts/count" in described["paths"]
