"""Mail: what a message is made of, and how it reaches a real SMTP server."""

import ssl
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import ValidationError
from structlog.testing import capture_logs

from service.mail import MailMessage, Undeliverable, compose, make_mailer, refuse_unusable_sender
from service.settings import SettingsError
from service.testing.application import make_settings
from service.testing.mails import part
from tests.support.certificates import UNTRUSTED, make_certificate, server_context
from tests.support.smtp import SmtpServer, smtp_server

SENDER = "The service <hello@service.example>"
LETTER = MailMessage(
    "some-id", "ann@example.com", "A subject", "Hello,\nthis is text.\n", "<p>Hi</p>\n"
)


def letter_to(address: str, subject: str = "A subject") -> MailMessage:
    return MailMessage("some-id", address, subject, LETTER.text, LETTER.html)


class TestMessages:
    def test_message_has_its_headers_and_both_texts(self) -> None:
        message = compose(LETTER, SENDER)
        assert message["From"] == SENDER
        assert message["To"] == "ann@example.com"
        assert message["Subject"] == "A subject"
        assert message["Message-ID"] == "<some-id@service.example>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Date"].datetime.tzinfo is not None
        assert part(message, "plain") == LETTER.text
        assert part(message, "html") == LETTER.html

    def test_composed_message_is_the_same_each_time(self) -> None:
        assert compose(LETTER, SENDER)["Message-ID"] == compose(LETTER, SENDER)["Message-ID"]

    @pytest.mark.parametrize("evil", ["\r\nBcc: e@a.b", "\nBcc: e@a.b", "\rBcc: e@a.b"])
    def test_header_injection_is_refused(self, evil: str) -> None:
        for letter in (letter_to(f"ann@example.com{evil}"), letter_to("ann@example.com", evil)):
            with pytest.raises((ValueError, Undeliverable)):
                compose(letter, SENDER)
        with pytest.raises(ValidationError):
            make_settings(mail_from=f"hello@service.example{evil}")

    def test_several_recipients_in_one_address_are_refused(self) -> None:
        for address in ("ann@example.com, eve@example.com", "<ann@example.com>", "ann,eve@a.b"):
            with pytest.raises(Undeliverable):
                compose(letter_to(address), SENDER)

    def test_domain_beyond_ascii_is_written_in_idna(self) -> None:
        message = compose(letter_to("ann@straße.example"), SENDER)
        assert message["To"] == "ann@xn--strae-oqa.example"

    def test_text_beyond_ascii_is_encoded(self) -> None:
        letter = MailMessage("id", "a@example.com", "Grüße", "Grüße\n", "<p>Grüße</p>\n")
        message = compose(letter, SENDER)
        assert part(message, "plain") == "Grüße\n"
        assert b"Gr\xfc" not in message.as_bytes()


class TestLog:
    async def test_log_mailer_writes_the_mail_to_the_log(self) -> None:
        with capture_logs() as lines:
            await make_mailer(make_settings()).send(LETTER)
        [line] = lines
        assert "To: ann@example.com\nSubject: A subject\n\nHello,\nthis is text." in line["event"]


async def deliver(
    server: SmtpServer, url: str, letter: MailMessage = LETTER, **values: str
) -> EmailMessage:
    await make_mailer(make_settings(**{"smtp_url": url, "mail_from": SENDER} | values)).send(letter)
    return server.mails[-1]


@pytest.fixture
def certificate(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A server's key and certificate; a test may ask for another one than `make_certificate`'s."""
    return make_certificate(tmp_path, **getattr(request, "param", {}))


class TestSending:
    async def test_mail_is_sent_over_plain_smtp(self, smtp: SmtpServer) -> None:
        mail = await deliver(smtp, smtp.url)
        assert part(mail, "plain") == LETTER.text
        assert smtp.envelopes[0].mail_from == "hello@service.example"

    async def test_starttls_is_used_when_it_is_offered(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with smtp_server(
            tls_context=server_context(certificate), require_starttls=True
        ) as smtp:
            with pytest.raises((aiosmtplib.SMTPException, ssl.SSLError)):
                await deliver(smtp, smtp.url)  # nobody vouches for the certificate
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            await deliver(smtp, smtp.url)
        assert len(smtp.mails) == 1

    async def test_mail_is_sent_over_smtps(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with smtp_server(ssl_context=server_context(certificate)) as smtp:
            await deliver(smtp, smtp.url.replace("smtp:", "smtps:"))
        assert len(smtp.mails) == 1

    async def test_smtp_user_and_password_are_sent(self) -> None:
        seen = []

        def authenticate(_server: Any, _session: Any, _envelope: Any, _kind: str, data: Any) -> Any:
            assert isinstance(data, LoginPassword)
            seen.append((data.login.decode(), data.password.decode()))
            return AuthResult(success=data.password == b"p@ss/word", handled=False)

        async with smtp_server(authenticator=authenticate, auth_require_tls=False) as smtp:
            host = smtp.url.removeprefix("smtp://")
            await deliver(smtp, f"smtp://a%20user:p%40ss%2Fword@{host}")
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await deliver(smtp, f"smtp://user:wrong@{host}")
        assert seen[0] == ("a user", "p@ss/word")
        assert len(smtp.mails) == 1

    async def test_smtp_password_leaves_the_machine_over_tls_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with smtp_server() as smtp:
            # A name that is not this machine's, as far as anybody can tell.
            monkeypatch.setattr("service.mail.is_local", lambda _host: False)
            with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
                await deliver(smtp, f"smtp://user:secret@127.0.0.1:{smtp.port}")
            assert smtp.mails == []

    @pytest.mark.parametrize(("reply", "final"), [("550 nobody", True), ("451 later", False)])
    async def test_permanent_smtp_refusal_is_undeliverable(
        self, smtp: SmtpServer, reply: str, final: bool
    ) -> None:
        smtp.refusals["ann@example.com"] = reply
        with pytest.raises(Undeliverable if final else aiosmtplib.SMTPException) as caught:
            await deliver(smtp, smtp.url)
        assert isinstance(caught.value, Undeliverable) is final

    async def test_address_beyond_ascii_needs_smtputf8(self) -> None:
        async with smtp_server(enable_SMTPUTF8=True) as smtp:
            mail = await deliver(smtp, smtp.url, letter_to("änn@example.com"))
            assert mail["To"] == "änn@example.com"
        async with smtp_server() as smtp:
            with pytest.raises(Undeliverable, match="SMTPUTF8"):
                await deliver(smtp, smtp.url, letter_to("änn@example.com"))


def notes(error: BaseException) -> str:
    """What a failed mail says to the operator."""
    return "; ".join(getattr(error, "__notes__", ()))


class TestTls:
    @pytest.mark.parametrize("scheme", ["smtp", "smtps"])
    @pytest.mark.parametrize("certificate", UNTRUSTED.values(), ids=UNTRUSTED, indirect=True)
    async def test_untrusted_certificate_is_taken_where_tls_is_opportunistic(
        self, certificate: Path, scheme: str
    ) -> None:
        made = server_context(certificate)
        options = {"ssl_context": made} if scheme == "smtps" else {"tls_context": made}
        async with smtp_server(**options, require_starttls=scheme == "smtp") as smtp:
            url = f"{scheme}://127.0.0.1:{smtp.port}"
            with pytest.raises((aiosmtplib.SMTPException, ssl.SSLError)) as caught:
                await deliver(smtp, url)
            assert f"certificate of 127.0.0.1:{smtp.port}" in notes(caught.value)
            assert "SMTP_TLS=opportunistic" in notes(caught.value)
            await deliver(smtp, url, smtp_tls="opportunistic")
        assert len(smtp.mails) == 1

    @pytest.mark.parametrize("tls", ["verify", "opportunistic", "off"])
    async def test_server_without_starttls_takes_mail(self, smtp: SmtpServer, tls: str) -> None:
        await deliver(smtp, smtp.url, smtp_tls=tls)
        assert len(smtp.mails) == 1

    async def test_starttls_that_is_offered_is_not_used_where_it_is_off(
        self, certificate: Path
    ) -> None:
        async with smtp_server(tls_context=server_context(certificate)) as smtp:
            await deliver(smtp, smtp.url, smtp_tls="off")
        assert len(smtp.mails) == 1
        async with smtp_server(
            tls_context=server_context(certificate), require_starttls=True
        ) as smtp:
            with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
                await deliver(smtp, smtp.url, smtp_tls="off")

    async def test_opportunistic_tls_is_required_for_a_password(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("service.mail.is_local", lambda _host: False)
        async with smtp_server() as smtp:
            with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
                await deliver(
                    smtp, f"smtp://user:secret@127.0.0.1:{smtp.port}", smtp_tls="opportunistic"
                )

    @pytest.mark.parametrize("url", ["smtps://mail.test", "smtp://user:hunter2@mail.test"])
    def test_tls_that_is_needed_cannot_be_off(self, url: str) -> None:
        with pytest.raises(SettingsError, match=r"^SMTP_TLS: ") as caught:
            make_mailer(make_settings(smtp_url=url, smtp_tls="off"))
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("value", ["on", "none", "true"])
    def test_wrong_smtp_tls_is_refused(self, value: str) -> None:
        with pytest.raises(ValidationError, match="smtp_tls"):
            make_settings(smtp_tls=value)


class TestFailures:
    async def test_mail_server_that_does_not_answer_is_explained(self, smtp: SmtpServer) -> None:
        await smtp.down()
        with pytest.raises(aiosmtplib.SMTPConnectError) as caught:
            await deliver(smtp, smtp.url)
        assert f"No mail server answers at 127.0.0.1:{smtp.port}" in notes(caught.value)
        assert "SMTP_URL" in notes(caught.value)

    async def test_smtps_to_a_server_that_begins_without_tls_is_explained(
        self, smtp: SmtpServer
    ) -> None:
        with pytest.raises(aiosmtplib.SMTPException) as caught:
            await deliver(smtp, smtp.url.replace("smtp:", "smtps:"))
        assert "smtp://" in notes(caught.value)

    async def test_refused_password_is_explained(self) -> None:
        refuse = partial(AuthResult, success=False, handled=False)
        options = {"authenticator": lambda *_: refuse(), "auth_require_tls": False}
        async with smtp_server(**options) as smtp:
            with pytest.raises(aiosmtplib.SMTPAuthenticationError) as caught:
                await deliver(smtp, f"smtp://user:hunter2@127.0.0.1:{smtp.port}")
        assert "user or the password of SMTP_URL" in notes(caught.value)
        assert "hunter2" not in notes(caught.value)

    async def test_refused_sender_is_explained(
        self, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object) -> str:
            return "550 not from you"

        monkeypatch.setattr(smtp, "handle_MAIL", refuse, raising=False)
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as caught:
            await deliver(smtp, smtp.url)
        assert "MAIL_FROM" in notes(caught.value)
        assert "not from you" in notes(caught.value)


class TestSender:
    SENDER = "Größe <größe@service.example>"

    async def test_sender_beyond_ascii_is_sent_where_the_server_takes_it(self) -> None:
        async with smtp_server(enable_SMTPUTF8=True) as smtp:
            settings = make_settings(smtp_url=smtp.url, mail_from=self.SENDER)
            await refuse_unusable_sender(settings)
            await deliver(smtp, smtp.url, mail_from=self.SENDER)
        [envelope] = smtp.envelopes
        assert envelope.mail_from == "größe@service.example"
        assert f"\r\nFrom: {self.SENDER}\r\n".encode() in b"\r\n" + envelope.original_content

    async def test_sender_beyond_ascii_is_refused_where_the_server_does_not_take_it(
        self, smtp: SmtpServer
    ) -> None:
        settings = make_settings(smtp_url=smtp.url, mail_from=self.SENDER)
        with pytest.raises(SettingsError, match=r"^MAIL_FROM: .*SMTPUTF8"):
            await refuse_unusable_sender(settings)
        # An operator can mend this, so that the mail is kept.
        with pytest.raises(aiosmtplib.SMTPNotSupported) as caught:
            await deliver(smtp, smtp.url, mail_from=self.SENDER)
        assert "MAIL_FROM" in notes(caught.value)

    async def test_sender_in_ascii_needs_no_server_at_the_start(self) -> None:
        for url in ("smtp://127.0.0.1:1", "log:"):
            await refuse_unusable_sender(make_settings(smtp_url=url, mail_from=SENDER))
        await refuse_unusable_sender(
            make_settings(smtp_url="smtp://127.0.0.1:1", mail_from=self.SENDER)
        )

    def test_sender_with_a_domain_that_cannot_be_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="mail_from"):
            make_settings(mail_from="service@-größe-.example")


class TestSettings:
    @pytest.mark.parametrize(
        "url", ["http://mail.test", "smtp://", "smtp://mail.test:port", "smtp://a b", "mail.test"]
    )
    def test_wrong_smtp_url_is_refused(self, url: str) -> None:
        with pytest.raises(ValidationError, match="smtp_url"):
            make_settings(smtp_url=url)

    @pytest.mark.parametrize("sender", ["nobody", "Name <>", "@example.com", "a b@example.com"])
    def test_wrong_mail_from_is_refused(self, sender: str) -> None:
        with pytest.raises(ValidationError, match="mail_from"):
            make_settings(mail_from=sender)

    @pytest.mark.parametrize(
        "url", ["example.com", "ftp://example.com", "https://", "https://a?b", 'https://a/"', "//a"]
    )
    def test_wrong_public_url_is_refused(self, url: str) -> None:
        with pytest.raises(ValidationError, match="public_url"):
            make_settings(public_url=url)

    @pytest.mark.parametrize(
        ("values", "address"),
        [
            ({}, "http://127.0.0.1:8000"),
            ({"host": "0.0.0.0", "port": 80}, "http://localhost:80"),
            ({"host": "::1"}, "http://[::1]:8000"),
            ({"public_url": "https://example.com/app/"}, "https://example.com/app"),
        ],
    )
    def test_public_address_follows_from_the_settings(
        self, values: dict[str, Any], address: str
    ) -> None:
        assert make_settings(**values).public_address == address
