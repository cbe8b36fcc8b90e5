"""Mailed links: verification of addresses and forgotten passwords."""

import asyncio
import statistics
from time import perf_counter

import asyncpg
import pytest

from service.testing.client import PASSWORD
from service.testing.mails import link, part, token
from tests.support.client import Client
from tests.support.recovery import NEW_PASSWORD, forget
from tests.support.smtp import SmtpServer


@pytest.mark.usefixtures("worker")
class TestVerification:
    async def test_registration_mails_a_link_that_verifies_the_address(
        self, client: Client, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        me = await client.sign_up(email="Ann@example.com")
        assert me.user["email_verified"] is False
        [mail] = await smtp.wait_for(1)
        assert mail["To"] == "Ann@example.com"
        assert mail["From"] == "The service <hello@service.example>"
        assert smtp.envelopes[0].mail_from == "hello@service.example"
        assert smtp.envelopes[0].rcpt_tos == ["Ann@example.com"]
        assert mail["Message-ID"].endswith("@service.example>")
        assert link(mail).startswith("https://service.example/app/verify-email?token=")
        assert "service.example" in part(mail, "plain").replace(link(mail), "")

        assert (await client.post("/auth/email/verify", {"token": token(mail)})).status == 204
        assert (await me.get("/auth/me")).json["email_verified"] is True
        events = await db.fetch("SELECT kind FROM security_events WHERE kind = 'email.verified'")
        assert len(events) == 1

    async def test_verification_link_works_once(self, client: Client, smtp: SmtpServer) -> None:
        await client.register()
        [mail] = await smtp.wait_for(1)
        assert (await client.post("/auth/email/verify", {"token": token(mail)})).status == 204
        again = await client.post("/auth/email/verify", {"token": token(mail)})
        assert again.status == 400
        assert "used" in again.json["message"]

    async def test_verification_link_is_sent_again(self, client: Client, smtp: SmtpServer) -> None:
        me = await client.sign_up()
        assert (await me.post("/auth/email/verify/resend")).status == 202
        first, second = await smtp.wait_for(2)
        # Whoever asked twice may follow either mail.
        assert token(first) != token(second)
        assert (await client.post("/auth/email/verify", {"token": token(first)})).status == 204
        # Verified: nothing is mailed any more.
        assert (await me.post("/auth/email/verify/resend")).status == 202
        await forget(client, me.user["email"])
        assert "reset-password" in link((await smtp.wait_for(3))[2])

    async def test_sending_the_verification_again_needs_a_login(self, client: Client) -> None:
        assert (await client.post("/auth/email/verify/resend")).status == 401

    async def test_refused_registration_sends_no_mail(
        self, client: Client, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        await client.register(email="ann@example.com", username="ann")
        assert (await client.register(email="ANN@example.com")).status == 409
        assert (await client.register(username="ann")).status == 409
        await smtp.wait_for(1)
        assert await db.fetchval("SELECT count(*) FROM mail_links") == 1


@pytest.mark.usefixtures("worker")
class TestReset:
    async def test_forgotten_password_is_reset_by_mail(
        self, client: Client, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        me = await client.sign_up(email="ann@example.com")
        await forget(client, "ANN@example.com")
        [_verification, mail] = await smtp.wait_for(2)
        assert mail["To"] == "ann@example.com"
        body = {"token": token(mail), "password": NEW_PASSWORD}
        assert (await client.post("/auth/password/reset", body)).status == 204
        assert (await client.login("ann@example.com", PASSWORD)).status == 401
        assert (await client.login("ann@example.com", NEW_PASSWORD)).status == 200
        # Who reads the mail has proved the address; the other sessions are over.
        assert client.user["email_verified"] is True
        assert (await me.get("/auth/me")).status == 401
        kinds = await db.fetch("SELECT kind FROM security_events ORDER BY created_at")
        assert {"password.reset", "email.verified"} <= {row["kind"] for row in kinds}

    async def test_password_reset_ends_all_links(self, client: Client, smtp: SmtpServer) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        await forget(client, "ann@example.com")
        verification, first, second = map(token, await smtp.wait_for(3))
        body = {"token": second, "password": NEW_PASSWORD}
        assert (await client.post("/auth/password/reset", body)).status == 204
        for spent in (first, second):
            body = {"token": spent, "password": NEW_PASSWORD}
            assert (await client.post("/auth/password/reset", body)).status == 400
        assert (await client.post("/auth/email/verify", {"token": verification})).status == 400

    async def test_one_of_two_concurrent_resets_by_one_token_succeeds(
        self, client: Client, smtp: SmtpServer
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        mail = (await smtp.wait_for(2))[1]
        passwords = [f"passphrase number {number}" for number in range(2)]
        answers = await asyncio.gather(
            *(
                client.post("/auth/password/reset", {"token": token(mail), "password": password})
                for password in passwords
            )
        )
        assert sorted(answer.status for answer in answers) == [204, 400]
        logins = [(await client.login("ann@example.com", word)).status for word in passwords]
        assert logins == [200 if answer.status == 204 else 401 for answer in answers]

    async def test_one_of_two_concurrent_resets_by_two_links_succeeds(
        self, client: Client, smtp: SmtpServer
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        await forget(client, "ann@example.com")
        mails = (await smtp.wait_for(3))[1:]
        answers = await asyncio.gather(
            *(
                client.post("/auth/password/reset", {"token": token(m), "password": NEW_PASSWORD})
                for m in mails
            )
        )
        assert sorted(answer.status for answer in answers) == [204, 400]

    async def test_reset_link_expires_after_an_hour(
        self, client: Client, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        mail = (await smtp.wait_for(2))[1]
        left = "SELECT expires_at - now() FROM mail_links WHERE purpose = 'reset-password'"
        assert 3500 < (await db.fetchval(left)).total_seconds() <= 3600
        await db.execute("UPDATE mail_links SET expires_at = now()")
        body = {"token": token(mail), "password": NEW_PASSWORD}
        assert (await client.post("/auth/password/reset", body)).status == 400

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE users SET email = 'other@example.com'",
            "UPDATE users SET is_active = false",
            "UPDATE users SET deleted_at = now()",
        ],
    )
    async def test_link_ends_with_the_email_or_account_that_it_was_for(
        self, change: str, client: Client, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        verification, reset = await smtp.wait_for(2)
        await db.execute(change)
        body = {"token": token(reset), "password": NEW_PASSWORD}
        assert (await client.post("/auth/password/reset", body)).status == 400
        assert (
            await client.post("/auth/email/verify", {"token": token(verification)})
        ).status == 400

    async def test_disabled_deleted_and_unknown_accounts_get_no_reset_mail(
        self, client: Client, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        await client.register(email="disabled@example.com")
        await client.register(email="deleted@example.com")
        await smtp.wait_for(2)
        await db.execute("UPDATE users SET is_active = false WHERE email LIKE 'disabled%'")
        await db.execute("UPDATE users SET deleted_at = now() WHERE email LIKE 'deleted%'")
        for nobody in ("disabled@example.com", "deleted@example.com", "unknown@example.com"):
            await forget(client, nobody)
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        mails = await smtp.wait_for(4)
        assert [mail["To"] for mail in mails[2:]] == ["ann@example.com"] * 2


class TestRefusals:
    @pytest.mark.parametrize(
        "value", ["", "x", "a" * 43, "a" * 201, "é", "\0", None, 1, "' OR 1=1 --"]
    )
    async def test_malformed_link_token_is_400(self, client: Client, value: object) -> None:
        body = {"token": value, "password": NEW_PASSWORD}
        assert (await client.post("/auth/password/reset", body)).status == 400
        assert (await client.post("/auth/email/verify", body)).status == 400

    async def test_link_token_is_good_for_its_purpose_alone(
        self, client: Client, smtp: SmtpServer, worker: None
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        verification, reset = map(token, await smtp.wait_for(2))
        body = {"token": verification, "password": NEW_PASSWORD}
        assert (await client.post("/auth/password/reset", body)).status == 400
        assert (await client.post("/auth/email/verify", {"token": reset})).status == 400

    @pytest.mark.parametrize(
        "email",
        [None, 7, "", "ann", "ann@", "@example.com", "a b@example.com", "a\0@example.com",
         f"{'a' * 250}@example.com", "ann@example.com\r\nBcc: eve@example.com"],
    )  # fmt: skip
    async def test_forgotten_password_of_a_malformed_address_is_400(
        self, client: Client, email: object
    ) -> None:
        answer = await client.post("/auth/password/forgot", {"email": email})
        assert answer.status == 400
        assert "email" in answer.json["errors"]

    @pytest.mark.parametrize("password", ["short", "password1", "ä" * 129])
    async def test_refused_password_spends_no_link_token(
        self, client: Client, smtp: SmtpServer, worker: None, password: str
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        mail = (await smtp.wait_for(2))[1]
        body = {"token": token(mail), "password": password}
        answer = await client.post("/auth/password/reset", body)
        assert answer.status == 400
        assert "password" in answer.json["errors"]
        body["password"] = NEW_PASSWORD
        assert (await client.post("/auth/password/reset", body)).status == 204


class TestForgot:
    async def test_forgotten_password_s_answer_does_not_disclose_accounts(
        self, client: Client, db: asyncpg.Connection
    ) -> None:
        await client.register(email="ann@example.com")
        known = await client.post("/auth/password/forgot", {"email": "ann@example.com"})
        unknown = await client.post("/auth/password/forgot", {"email": "bob@example.com"})
        assert known.status == unknown.status == 202
        assert known.body == unknown.body
        jobs = await db.fetch(
            "SELECT entrypoint, headers - 'request_id' AS headers, octet_length(payload) AS size "
            "FROM pgqueuer "
            "WHERE entrypoint = 'password reset request'"
        )
        # What is done for the one is done for the other.
        assert len(jobs) == 2
        assert jobs[0] == jobs[1]

    @pytest.mark.proof
    @pytest.mark.alone
    async def test_forgotten_password_s_time_does_not_disclose_accounts(
        self, client: Client
    ) -> None:
        await client.register(email="ann@example.com")

        async def once(email: str) -> float:
            start = perf_counter()
            await forget(client, email)
            return perf_counter() - start

        times: dict[str, list[float]] = {"ann@example.com": [], "bob@example.com": []}
        for _ in range(60):
            for email, measured in times.items():
                measured.append(await once(email))
        known, unknown = (statistics.median(measured) for measured in times.values())
        assert 0.8 < known / unknown < 1.25, (known, unknown)
