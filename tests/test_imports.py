"""The rule of imports: one direction, so that a room is understood without those to its right."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SERVICE = TESTS.parent / "service"
# From left to right; rooms that share a place may import one another.
ROOMS = (
    ("settings", "errors", "clock", "ids", "canonical"),
    ("observability",),
    ("db",),
    ("mail",),
    ("jobs",),
    ("web",),
    ("notices",),
    ("audit",),
    ("auth",),
    ("posts",),
    ("accounts",),
    ("importing",),
    ("admin",),
    ("worker",),
    ("app",),
    ("doctor",),
    ("asgi", "cli", "__main__"),
)
PLACES = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}
# Beside all others: it knows none of them, and of the service only these enter it.
BESIDE = "embedded_postgres"
ENTER_BESIDE = {"cli", "testing", BESIDE}
# It looks at everything, and only the command enters it.
DOCTOR = "doctor"
# What those who test against the service use: it may import everything, and nothing imports it.
TESTING = "testing"
# Whose tables others join: everyone's accounts. Operators and the import work on all tables.
SHARED_MODELS = "auth"
READS_ALL_MODELS = {"admin", "importing"}


def files() -> Iterator[tuple[Path, str]]:
    """Every file below service/, and the room it is in; the package's own docstring is in none."""
    for path in sorted(SERVICE.rglob("*.py")):
        inside = path.relative_to(SERVICE)
        room = inside.parts[0].removesuffix(".py")
        if room != "__init__":
            yield inside, room


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it; `from a import b` is `a.b`, too."""
    for node in ast.walk(ast.parse((SERVICE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside_service(path: Path) -> set[tuple[str, ...]]:
    """What a file imports of the service, as the names below it: ("posts", "queries")."""
    modules = (tuple(module.split(".")) for module in imported(path))
    return {names for first, *rest in modules if first == "service" and (names := tuple(rest))}


def is_allowed(room: str, other: str) -> bool:
    if room in {other, TESTING}:
        return True
    if other == BESIDE:
        return room in ENTER_BESIDE
    if BESIDE in {room, other} or other == TESTING:
        return False
    if other == DOCTOR:
        return room == "cli"
    return PLACES[other] <= PLACES[room]


def test_every_file_imports_only_from_its_own_room_or_from_rooms_to_its_left() -> None:
    violations = {
        f"{path} imports service.{names[0]}"
        for path, room in files()
        for names in inside_service(path)
        if not is_allowed(room, names[0])
    }
    assert sorted(violations) == []


def test_every_room_has_a_place_in_the_rule() -> None:
    assert {room for _, room in files()} - {BESIDE, TESTING} == set(PLACES)


def test_only_routes_web_commands_and_the_caller_know_the_web_framework() -> None:
    violations = {
        f"{path} imports {module}"
        for path, room in files()
        for module in imported(path)
        if module.partition(".")[0].startswith(("quart", "werkzeug"))
        and room not in {"web", "cli", "app", TESTING}
        and not path.name.endswith("routes.py")
        and path not in {Path("auth/principal.py"), Path("auth/guards.py")}
    }
    assert sorted(violations) == []


def test_tests_share_helpers_only_through_support() -> None:
    violations = {
        f"{path.relative_to(TESTS)} imports {module}"
        for path in sorted(TESTS.rglob("*.py"))
        for module in imported(path)
        if module.startswith("tests.") and not module.startswith("tests.support")
    }
    assert sorted(violations) == []


def test_no_feature_uses_the_tables_of_another() -> None:
    violations = {
        f"{path} imports service.{'.'.join(names)}"
        for path, room in files()
        for names in inside_service(path)
        if names[1:2] == ("models",)
        and names[0] not in {room, SHARED_MODELS}
        and room not in READS_ALL_MODELS
    }
    assert sorted(violations) == []
