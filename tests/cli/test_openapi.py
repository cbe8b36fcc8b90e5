"""`service openapi`."""

import json
from pathlib import Path

from tests.support.command import Invoke


def test_openapi_command_needs_no_database(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("openapi")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["openapi"].startswith("3.1")
    assert "/api/posts" in document["paths"]
    assert list(tmp_path.iterdir()) == []


def test_openapi_command_needs_no_production_secrets(invoke: Invoke) -> None:
    assert invoke("openapi", service_env="production").exit_code == 0
