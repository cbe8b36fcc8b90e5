"""The pages that links in mails lead to."""

from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest

from service.auth.passwords import Passwords
from service.errors import Unavailable
from service.testing.mails import token
from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.recovery import NEW_PASSWORD, forget
from tests.support.smtp import SmtpServer


async def submit(client: Client, path: str, **form: str) -> Any:
    return await client.request("POST", path, form=form)


class TestPages:
    @pytest.mark.parametrize("path", ["/verify-email", "/reset-password"])
    async def test_opening_a_link_s_page_spends_no_token(
        self, client: Client, db: asyncpg.Connection, path: str
    ) -> None:
        page = await client.get(f"{path}?token=a%22%3E<script>&amp;")
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        text = page.body.decode()
        assert "<script" not in text
        assert 'value="a&quot;&gt;&lt;script&gt;"' in text
        assert "http" not in text  # nothing comes from elsewhere
        assert f'action="{path[1:]}"' in text
        for query in ("", "?token=", f"?token={'a' * 201}", "?token=a%00"):
            assert (await client.get(f"{path}{query}")).status == 400

    async def test_reset_page_of_a_busy_service_says_when_to_try_again(
        self, client: Client, smtp: SmtpServer, worker: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        form = {"token": token((await smtp.wait_for(2))[1]), "password": NEW_PASSWORD}
        passwords = client.app.component(Passwords)
        monkeypatch.setattr(passwords, "hash", AsyncMock(side_effect=Unavailable))
        answer = await submit(client, "/reset-password", **form)
        refused(answer, 503)
        assert answer.headers["Retry-After"]

    async def test_verification_page_confirms_an_address(
        self, client: Client, smtp: SmtpServer, worker: None
    ) -> None:
        me = await client.sign_up()
        [mail] = await smtp.wait_for(1)
        assert (await client.get(f"/verify-email?token={token(mail)}")).status == 200
        page = await submit(client, "/verify-email", token=token(mail))
        assert page.status == 200
        assert b"confirmed" in page.body
        assert (await me.get("/auth/me")).json["email_verified"] is True
        again = await submit(client, "/verify-email", token=token(mail))
        assert again.status == 400
        assert b"has been used" in again.body
        assert (await submit(client, "/verify-email")).status == 400

    async def test_reset_page_sets_a_password(
        self, client: Client, smtp: SmtpServer, worker: None
    ) -> None:
        await client.register(email="ann@example.com")
        await forget(client, "ann@example.com")
        mail = (await smtp.wait_for(2))[1]
        short = await submit(client, "/reset-password", token=token(mail), password="short")
        assert short.status == 400
        assert b"at least 8" in short.body
        assert token(mail).encode() in short.body  # to be tried again
        weak = await submit(client, "/reset-password", token=token(mail), password="password1")
        assert weak.status == 400
        assert b"most common" in weak.body
        page = await submit(client, "/reset-password", token=token(mail), password=NEW_PASSWORD)
        assert page.status == 200
        assert page.headers["Cache-Control"] == "no-store"
        assert (await client.login("ann@example.com", NEW_PASSWORD)).status == 200
        again = await submit(client, "/reset-password", token=token(mail), password=NEW_PASSWORD)
        assert again.status == 400


def test_pages_lie_beside_the_api(app: Service) -> None:
    """The pages live at the site's root, beside the API."""
    rules = {str(rule) for rule in app.url_map.iter_rules()}
    assert {"/verify-email", "/reset-password", "/auth/password/reset"} <= rules
