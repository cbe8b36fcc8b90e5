"""Import directions: one way, so that a part can be understood without those above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[1] / "service"
FEATURES = {"accounts", "audit", "auth", "jobs", "posts"}
BELOW_FEATURES = {
    "clock.py",
    "database.py",
    "errors.py",
    "ids.py",
    "log.py",
    "origin.py",
    "pool.py",
    "settings.py",
}
FILES = sorted(path.relative_to(SERVICE) for path in SERVICE.rglob("*.py"))
# Joining in the database is one statement instead of two, and cheaper than any function call:
# whoever joins users to rows of its own may read that table. Nothing else may.
MAY_READ_USERS = {"auth", "posts"}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it; `from a import b` is `a.b`, too."""
    for node in ast.walk(ast.parse((SERVICE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(module: str) -> list[str]:
    """The rooms that a module of ours lies in: ["posts", "queries"]."""
    first, *rest = module.split(".")
    return rest if first == "service" else []


def speaks_http(path: Path) -> bool:
    """Whether a file is one of those that may know the web framework."""
    return (
        path.name.endswith("routes.py")
        or path.parts[0] in {"web", "app.py", "cli"}
        or path == Path("auth/principal.py")
    )


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_outer_rooms_know_the_web_framework(path: Path) -> None:
    frameworks = {module.partition(".")[0] for module in imported(path)}
    web = {name for name in frameworks if name.startswith("quart")} | frameworks & {"werkzeug"}
    assert not web or speaks_http(path)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_lies_below_imports_no_feature(path: Path) -> None:
    if path.parts[0] == "web" or str(path) in BELOW_FEATURES:
        rooms = {inside(module)[0] for module in imported(path) if inside(module)}
        assert not rooms & FEATURES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_feature_uses_another_s_models(path: Path) -> None:
    own = path.parts[0]
    if own not in FEATURES:
        return
    allowed = {own, "accounts"} if own in MAY_READ_USERS else {own}
    models = {inside(module)[0] for module in imported(path) if inside(module)[1:2] == ["models"]}
    assert models <= allowed


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_command_line_knows_the_embedded_database(path: Path) -> None:
    if path.parts[0] not in {"cli", "embedded"}:
        assert not any(inside(module)[:1] == ["embedded"] for module in imported(path))
