"""The service as clients meet it that know nothing of it but its OpenAPI document."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.app import create_app
from service.settings import PROJECT
from service.testing.application import make_settings
from service.testing.client import PASSWORD
from service.web.openapi import document
from tests.support.clients.tools import run, run_npm_package
from tests.support.processes import ask, service_process

HERE = PROJECT / "tests" / "support" / "clients"

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]


# Of npm's, with their versions, which run on Node 18: nothing is installed into the project.
LINTERS = {
    "redocly": ("@redocly/cli@1.34.5", "lint"),
    "spectral": (
        "@stoplight/spectral-cli@6.16.3", "lint", "--fail-severity=error", "--ruleset=rules.yaml"
    ),
}  # fmt: skip


@pytest.mark.parametrize("linter", LINTERS)
async def test_linters_find_no_error_in_the_document(tmp_path: Path, linter: str) -> None:
    settings = make_settings(database_url="postgresql:///", public_url="https://api.example.com")
    described = document(create_app(settings))
    (tmp_path / "openapi.json").write_text(json.dumps(described))
    (tmp_path / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    said = await run_npm_package(*LINTERS[linter], "openapi.json", cwd=tmp_path)
    assert "openapi.json" in said


@pytest.fixture
async def port(database_url: str, tmp_path: Path) -> AsyncIterator[int]:
    """Where a process of its own serves."""
    async with service_process(database_url, tmp_path) as service:
        yield service.port


async def test_generated_client_makes_a_round_trip(port: int, tmp_path: Path) -> None:
    options = tmp_path / "options.json"
    # The made code is run, not read: nothing formats it. Of itself it knows no images, such as the
    # icon that browsers ask for.
    overrides = {"image/png": "application/octet-stream"}
    options.write_text(json.dumps({"post_hooks": [], "content_type_overrides": overrides}))
    said = await run(
        "openapi-python-client",
        "generate",
        *("--url", f"http://127.0.0.1:{port}/openapi.json"),
        *("--config", str(options)),
        *("--meta", "none"),
        *("--output-path", str(tmp_path / "service_client")),
        cwd=tmp_path,
    )
    # It warns of what it can't use.
    assert said.splitlines() == [f"Generating {tmp_path / 'service_client'}"]
    script = str(HERE / "round_trip.py")
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    said = await run("python", script, f"http://127.0.0.1:{port}", cwd=tmp_path, **environment)
    assert said == ""


@pytest.mark.parametrize("is_admin", [False, True])
async def test_schemathesis_finds_no_fault(
    port: int, db: asyncpg.Connection, tmp_path: Path, is_admin: bool
) -> None:
    account = {"email": "ada@example.com", "password": PASSWORD}
    assert (await ask(port, "POST", "/auth/register", account)).status == 201
    await db.execute("UPDATE users SET is_admin = $1", is_admin)
    document = tmp_path / "openapi.json"
    document.write_bytes((await ask(port, "GET", "/openapi.json")).body)
    paths = json.loads(document.read_bytes())["paths"]
    operations = sum(len(methods) for methods in paths.values())
    said = await run(
        "schemathesis",
        *("--config-file", str(HERE / "schemathesis.toml")),
        # From a file: the address that a document comes from would not be probed.
        *("run", str(document), "--url", f"http://127.0.0.1:{port}", "--no-color"),
        cwd=tmp_path,
        PYTHONPATH=str(PROJECT),
        CALLER_EMAIL=account["email"],
        CALLER_PASSWORD=PASSWORD,
    )
    assert f"Tested: {operations}\n" in said, said
