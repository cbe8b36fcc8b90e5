"""`service doctor`, as it is run."""

import json
import socket
import time
from pathlib import Path

import pytest

from service.doctor.findings import Finding, Status
from service.doctor.redaction import Redaction
from service.testing.application import make_settings
from tests.support.command import PRODUCTION, Invoke
from tests.support.stored_secrets import NEW, encryption_keys

SECRETS = {
    "database": "hunter2-of-the-database",
    "replica": "hunter2-of-the-replica",
    "redis": "hunter2-of-redis",
    "mail": "hunter2%40of-the-mail",
    "provider": "hunter2-of-the-provider",
    "signing": "hunter2 signs what nobody else can sign",
}


def deployment(port: int, folder: Path) -> dict[str, object]:
    """A production whose servers are all at one port of this machine."""
    at = f"127.0.0.1:{port}"
    return PRODUCTION | {
        "database_url": f"postgresql://me:{SECRETS['database']}@{at}/name",
        "database_replica_url": f"postgresql://me:{SECRETS['replica']}@{at}/name",
        "redis_url": f"redis://:{SECRETS['redis']}@{at}/0",
        "smtp_url": f"smtps://me:{SECRETS['mail']}@{at}",
        "public_url": f"https://{at}",
        "jwt_secret_key": SECRETS["signing"],
        "encryption_keys": encryption_keys(NEW),
        "external_acme_client_id": "id",
        "external_acme_client_secret": SECRETS["provider"],
        "external_acme_issuer": f"https://{at}",
        "otel_exporter_otlp_endpoint": f"http://{at}",
        "data_dir": folder,
    }


DOWN = {"database", "replica", "redis", "mail", "public address", "providers"}


def assert_no_secret(text: str) -> None:
    hidden = [*SECRETS.values(), encryption_keys(NEW), str(PRODUCTION["secret_key"])]
    assert [secret for secret in hidden if secret in text] == []
    assert "hunter2" not in text
    assert "Traceback" not in text


def test_where_nothing_runs_each_subject_is_a_problem_and_no_secret_is_shown(
    invoke: Invoke, tmp_path: Path
) -> None:
    done = invoke("doctor", "--json", **deployment(1, tmp_path))
    assert done.exit_code == 1, done.output
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert {tuple(each) for each in answer["findings"]} == {
        ("subject", "status", "message", "advice")
    }
    problems = {each["subject"] for each in answer["findings"] if each["status"] == "problem"}
    assert problems == DOWN
    assert_no_secret(done.output + done.stderr)


def test_findings_are_lines_with_advice_below_and_warnings_alone_are_no_failure(
    invoke: Invoke, database_url: str
) -> None:
    done = invoke("doctor", database_url=database_url)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert any(line.startswith("ok       database  ") for line in lines)
    assert any(line.startswith("warning  rights  ") for line in lines)
    assert any(line.strip().startswith("→ give the service a role") for line in lines)
    assert lines[-1] == "no problems, 1 warning."


def test_a_wrong_setting_comes_first_and_the_rest_is_still_looked_at(
    invoke: Invoke, database_url: str
) -> None:
    wrong = {"redis_url": "http://cache", "jwt_keys_dir": "/no/such/folder"}
    done = invoke("doctor", "--json", database_url=database_url, **wrong)
    assert done.exit_code == 1
    findings = json.loads(done.stdout)["findings"]
    assert [each["message"].partition(": ")[0] for each in findings[:2]] == [
        "JWT_KEYS_DIR",
        "REDIS_URL",
    ]
    by_subject = {each["subject"]: each for each in findings}
    assert by_subject["redis"]["status"] == "skipped"
    assert by_subject["schema"]["status"] == "ok"


@pytest.mark.proof
def test_without_database_url_it_looks_at_the_embedded_database(invoke: Invoke) -> None:
    before = invoke("doctor")
    assert before.exit_code == 1
    assert "schema is not at head" in before.stdout
    assert invoke("migrate").exit_code == 0
    after = invoke("doctor")
    assert (after.exit_code, after.stdout.splitlines()[-1]) == (0, "no problems, no warnings.")


@pytest.mark.proof
def test_where_everything_is_silent_it_ends_in_time(invoke: Invoke, tmp_path: Path) -> None:
    # The system takes connections for a server that never asks for them.
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        values = deployment(server.getsockname()[1], tmp_path)
        start = time.monotonic()
        done = invoke("doctor", "--json", **values)
        assert time.monotonic() - start < 15
    answer = json.loads(done.stdout)
    problems = {each["subject"] for each in answer["findings"] if each["status"] == "problem"}
    assert (done.exit_code, problems) == (1, DOWN)
    assert_no_secret(done.output + done.stderr)


def test_whatever_a_finding_says_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-the-collector")
    monkeypatch.setenv("REDIS_URL", "redis://:not/encoded#of-redis@cache/0")
    settings = make_settings(
        database_url="postgresql://me:p%40ssword%20of@db/service?sslpassword=of%20the%20key",
        secret_key="a secret of the settings",
        encryption_keys=encryption_keys(NEW),
    )
    said = [
        "p%40ssword%20of", "p@ssword of", "a secret of the settings", encryption_keys(NEW),
        "authorization=Bearer of-the-collector", "Bearer of-the-collector", "of-the-collector",
        "of%20the%20key", "of the key", "not/encoded#of-redis",
    ]  # fmt: skip
    finding = Finding("x", Status.PROBLEM, "; ".join(said), said[1])
    shown = Redaction(settings).apply(finding)
    assert (shown.message, shown.advice) == ("; ".join(["***"] * len(said)), "***")
