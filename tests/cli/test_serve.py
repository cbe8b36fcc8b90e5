"""What keeps `service serve` from starting is one sentence, whichever server it would use."""

from pathlib import Path

import pytest
from click.testing import Result

from service.settings import PROJECT
from tests.support.command import Invoke

SERVED = PROJECT / "hypercorn.toml"


def assert_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_missing_uvicorn_is_reported_with_its_extra(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.server.serve.find_spec", lambda _name: None)
    result = invoke("serve", "--server", "uvicorn", "--config", str(SERVED))
    assert_refused(result, "uvicorn, httptools", "service[uvicorn]")


@pytest.mark.parametrize(
    "line",
    [
        'alpn_protocols = ["h2"]', 'insecure_bind = ["127.0.0.1:0"]', 'quic_bind = ["x:1"]',
        "read_timeout = 9", "max_requests = 9", 'accesslog = "-"', 'server_names = ["x"]',
    ],
)  # fmt: skip
def test_what_uvicorn_cannot_follow_is_reported_by_name(
    invoke: Invoke, tmp_path: Path, line: str
) -> None:
    config = tmp_path / "server.toml"
    config.write_text(f"{line}\n")
    result = invoke("serve", "--config", str(config), server="uvicorn")
    assert_refused(result, str(config), "uvicorn has no setting", line.partition(" ")[0])


def test_http_2_by_prior_knowledge_is_refused_under_uvicorn(invoke: Invoke) -> None:
    config = ("--config", str(SERVED))
    result = invoke("serve", "--server=uvicorn", *config, http2_prior_knowledge="true")
    assert_refused(result, "HTTP2_PRIOR_KNOWLEDGE", "uvicorn")


@pytest.mark.parametrize("value", ["gunicorn", "Uvicorn"])
def test_unknown_server_is_reported_with_the_setting(invoke: Invoke, value: str) -> None:
    assert_refused(invoke("serve", server=value), "SERVER: ", "hypercorn", "uvicorn")
