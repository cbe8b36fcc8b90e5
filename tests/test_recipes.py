"""README's recipes, followed to the letter in a copy of the project."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

from service.db.schema_version import head_revision
from service.settings import PROJECT
from tests.support.command import environment, fetch, started
from tests.support.eventsource import EventSource
from tests.support.processes import Connection, ask
from tests.support.readme import section

POST = {"title": "Notes", "content": "On the engine.", "summary": "It weaves."}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code and its migrations."""
    copy = tmp_path / "project"
    for folder in ("service", "alembic"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / folder, copy / folder, ignore=ignored)
    shutil.copy(PROJECT / "alembic.ini", copy)
    return copy


class Recipe:
    """A recipe of README's: blocks of code, each with the words before it."""

    def __init__(self, title: str) -> None:
        text = section("Extending").partition(f"**{title}.**")[2]
        blocks = re.findall(r"(.*?)\n *```python\n(.*?)```", text, re.DOTALL)
        self._blocks = [(words, dedent(code)) for words, code in blocks]

    def code(self, words: str) -> str:
        """Return the block whose introduction has these words."""
        (code,) = (code for intro, code in self._blocks if words in intro)
        return code


@pytest.mark.proof
def test_a_route_added_by_the_recipe_answers(
    project: Path, database_url: str, tmp_path: Path
) -> None:
    recipe = Recipe("A route")
    posts = project / "service" / "posts"
    append(posts / "schemas.py", recipe.code("describe the response"))
    append(posts / "queries.py", recipe.code("ask the database"))
    imports = "from service.posts.schemas import PostTotal\n"
    append(posts / "routes.py", imports + recipe.code("join the two"))
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    with started("run", cwd=tmp_path, project=project, **options) as process:
        address = process.until("Serving on ")
        assert json.loads(fetch(f"{address}/api/posts/count")) == {"total": 0}
        document = json.loads(fetch(f"{address}/openapi.json"))
    assert "/api/posts/count" in document["paths"]


def append(path: Path, code: str) -> None:
    """Write code at the end of a module."""
    path.write_text(f"{path.read_text()}\n\n{code}")


def insert(path: Path, name: str, code: str, *, first: bool = False) -> None:
    """Write lines into a class, a function or a dictionary of a module, by default as its last."""
    lines = path.read_text().splitlines(keepends=True)
    (node,) = (node for node in ast.parse("".join(lines)).body if name in _names(node))
    assert node.end_lineno
    end = node.end_lineno - isinstance(node, ast.AnnAssign)  # before a dictionary's brace
    if isinstance(node, ast.ClassDef):
        end = max(item.end_lineno or 0 for item in node.body if isinstance(item, ast.AnnAssign))
    lines.insert(node.lineno if first else end, indent(code, "    "))
    path.write_text("".join(lines))


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []


def add_column(project: Path, database_url: str) -> None:
    """Follow the recipe."""

    def run(*command: str) -> None:
        own = environment(pythonpath=project, database_url=database_url)
        subprocess.run([sys.executable, "-m", *command], cwd=project, env=own, check=True)

    recipe = Recipe("A column")
    models, schemas = (project / "service/posts" / name for name in ("models.py", "schemas.py"))
    insert(models, "Post", recipe.code("Add the column to `Post` in `service/posts/models.py`"))
    taken = recipe.code("In `service/posts/schemas.py`, take it in `NewPost` (and in `PostChange`")
    insert(schemas, "NewPost", taken)
    insert(schemas, "PostChange", taken)
    insert(schemas, "PostOut", recipe.code("Show it in `PostOut`"))
    insert(schemas, "POST_EXAMPLE", recipe.code("Show it in `POST_EXAMPLE`"))
    run("service", "migrate")
    number = f"{int(head_revision()) + 1:04}"
    command = ["revision", "--autogenerate", "--rev-id", number, "-m", "summarize posts"]
    run("alembic", *command)
    migration = project / "alembic" / "versions" / f"{number}_summarize_posts.py"
    insert(migration, "upgrade", recipe.code("At the end of `upgrade`"))
    insert(migration, "downgrade", recipe.code("At the start of `downgrade`"), first=True)
    function = recipe.code("what the SQL function `post_as_json` returns")
    migration.write_text(f"{migration.read_text()}\n\n{function}")
    run("service", "migrate")
    run("alembic", "check")
    run("alembic", "downgrade", "-1")


@pytest.mark.proof
async def test_a_column_added_by_the_recipe_is_in_http_and_in_the_stream(
    project: Path, database_url: str, tmp_path: Path
) -> None:
    add_column(project, database_url)
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    with started("run", cwd=tmp_path, project=project, **options) as process:
        port = int(process.until("Serving on ").rpartition(":")[2])
        async with EventSource(port).connected() as source, Connection(port) as author:
            await author.sign_up("ada")
            post = (await author.request("POST", "/api/posts", POST)).json
            path = f"/api/posts/{post['id']}"
            assert post["summary"] == POST["summary"]
            assert (await author.request("GET", path)).json == post
            assert (await author.request("GET", "/api/posts")).json["posts"] == [post]
            assert (await source.next()).data == post
            for summary in (None, "It counts."):
                changed = (await author.request("PATCH", path, {"summary": summary})).json
                assert changed["summary"] == summary
                assert (await source.next()).data == changed
            schema = (await ask(port, "GET", "/openapi.json")).json["components"]["schemas"]
            assert set(schema["PostOut"]["examples"][0]) == set(post)
