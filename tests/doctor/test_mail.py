"""The mail server, as `service doctor` finds it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from service.doctor import certificates, mail
from service.doctor.findings import Findings
from service.testing.application import make_settings
from tests.support.certificates import UNTRUSTED, make_certificate, server_context
from tests.support.doctor import Found, look
from tests.support.smtp import SmtpServer, smtp_server


async def examined(url: str, **settings: object) -> Found:
    return await look(mail.check, make_settings(smtp_url=url, **settings))


async def test_a_server_that_greets_is_well_and_gets_no_mail(smtp: SmtpServer) -> None:
    found = await examined(smtp.url)
    assert found.is_well
    assert f"127.0.0.1:{smtp.port} greets" in found["ok"]
    assert smtp.mails == []
    assert not smtp.has_data.is_set()


async def test_mails_without_tls_to_another_machine_are_a_warning(
    smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.doctor.mail.is_local", lambda _host: False)
    assert "without TLS" in (await examined(smtp.url))["warning"]


async def test_starttls_is_taken_up_and_its_certificate_has_days_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, days=90)
    monkeypatch.setattr("service.doctor.mail.is_local", lambda _host: False)
    async with smtp_server(
        tls_context=server_context(certificate), require_starttls=True
    ) as server:
        untrusted = await examined(server.url)
        taken = await examined(server.url, smtp_tls="opportunistic")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = await examined(server.url)
    assert "is not trusted" in untrusted["problem"]
    assert "SMTP_TLS is opportunistic" in taken["warning"]
    assert trusted.is_well
    assert "is good for 89 days" in trusted["ok"]


async def test_a_certificate_that_ends_soon_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, days=5)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with smtp_server(ssl_context=server_context(certificate)) as server:
        found = await examined(server.url.replace("smtp:", "smtps:"))
    assert "ends in 4 days" in found["warning"]


@pytest.mark.parametrize("kind", UNTRUSTED)
async def test_an_untrusted_certificate_is_a_problem(tmp_path: Path, kind: str) -> None:
    certificate = make_certificate(tmp_path, **UNTRUSTED[kind])
    async with smtp_server(ssl_context=server_context(certificate)) as server:
        found = await examined(server.url.replace("smtp:", "smtps:"))
    assert "is not trusted" in found["problem"]


async def test_the_user_is_signed_in() -> None:
    def authenticate(_server: Any, _session: Any, _envelope: Any, _kind: str, data: Any) -> Any:
        return AuthResult(success=data.password == b"right-password", handled=False)

    async with smtp_server(authenticator=authenticate, auth_require_tls=False) as server:
        right = await examined(server.url.replace("//", "//me:right-password@"))
        wrong = await examined(server.url.replace("//", "//me:hunter2-wrong@"))
    assert "takes the user" in right["ok"]
    assert right.is_well
    assert "refuses the user or the password" in wrong["problem"]
    assert "hunter2" not in wrong["problem"]


async def test_a_server_that_takes_no_user_is_a_problem_that_says_so(smtp: SmtpServer) -> None:
    found = await examined(smtp.url.replace("//", "//me:hunter2-unwanted@"))
    assert "takes no user and password (AUTH)" in found["problem"]
    assert "hunter2" not in found["problem"]


async def test_a_sender_that_the_server_does_not_take_is_a_problem(smtp: SmtpServer) -> None:
    found = await examined(smtp.url, mail_from="ü@example.com")
    assert "MAIL_FROM" in found["problem"]
    assert (await examined(smtp.url, mail_from="u@example.com")).is_well


async def test_settings_that_contradict_are_a_problem() -> None:
    assert "SMTP_TLS" in (await examined("smtps://mail.example", smtp_tls="off"))["problem"]


async def test_no_server_is_a_problem_and_the_log_is_none() -> None:
    assert "No mail server answers" in (await examined("smtp://127.0.0.1:1"))["problem"]
    assert "log:" in (await examined("log:"))["skipped"]


@pytest.mark.parametrize(
    ("days", "status"), [(-2, "problem"), (3, "warning"), (13, "warning"), (15, "ok")]
)
def test_days_of_a_certificate_decide(days: int, status: str, clock: Any) -> None:
    found = Findings("certificate")
    ends: datetime = clock.now() + timedelta(days=days, hours=1)
    certificates.report(found, "it", certificates.Certificate(ends), "")
    assert [each.status.value for each in found.listed] == [status]
