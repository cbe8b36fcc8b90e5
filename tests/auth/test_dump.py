"""A stolen dump of the database opens nothing, and neither does the log."""

import re
from base64 import b32encode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from service.settings import Settings
from service.testing.application import working
from service.testing.client import PASSWORD
from service.testing.mails import token
from tests.support.client import Client
from tests.support.dump import holds, read_everything
from tests.support.mailing import mailing_settings
from tests.support.second_factor import Authenticator, begin, confirm
from tests.support.smtp import SmtpServer

EMAIL = "ann@example.com"
WRONG_PASSWORD = "wrong horse battery staple"
WRONG_RECOVERY_CODE = "7Q2M-0XKD-V5HT-9CJR"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@pytest.fixture
def settings(database_url: str, tmp_path: Path, smtp: SmtpServer) -> Settings:
    return mailing_settings(database_url, tmp_path, smtp)


async def login_token(client: Client) -> str:
    answer = await client.login(EMAIL)
    assert (answer.status, answer.json["reason"]) == (403, "second_factor_required")
    return str(answer.json["login_token"])


async def finish(client: Client, secrets: list[str], **proof: str) -> list[str]:
    """Finish a login, or fail to; returns what is secret of it."""
    waiting = await login_token(client)
    answer = await client.post("/auth/login/second-factor", {"login_token": waiting, **proof})
    pair = [answer.json[kind] for kind in ("access_token", "refresh_token") if kind in answer.json]
    client.token = pair[0] if pair else client.token
    return [*secrets, waiting, *pair]


def bits_of(recovery_code: str) -> bytes:
    """The 80 bits that a recovery code is made of."""
    number = 0
    for character in recovery_code.replace("-", ""):
        number = number * 32 + CROCKFORD.index(character)
    return number.to_bytes(10)


async def read_mail(ann: Client, smtp: SmtpServer) -> list[str]:
    """Verify the address and ask for a reset; returns the tokens of both mails."""
    async with working(ann.app.settings):
        await ann.post("/auth/password/forgot", {"email": EMAIL})
        tokens = [token(mail) for mail in await smtp.wait_for(2)]
        for each in tokens:
            await ann.post("/auth/email/verify", {"token": each})
    assert (await ann.get("/auth/me")).json["email_verified"]
    return tokens


async def make_key(client: Client, name: str) -> tuple[str, str]:
    answer = await client.post("/auth/keys", {"name": name, "scopes": ["account:read"]})
    assert answer.status == 201, answer.body
    return answer.json["id"], answer.json["key"]


async def test_neither_the_database_nor_the_log_holds_a_secret_in_clear(
    client: Client,
    db: asyncpg.Connection,
    smtp: SmtpServer,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ann = await client.sign_up(EMAIL)
    assert ann.token
    texts = [PASSWORD, WRONG_PASSWORD, ann.token, ann.refresh_token, *await read_mail(ann, smtp)]
    app = await begin(ann)
    await confirm(ann, app)

    code = app.code()
    texts = await finish(ann, texts, code=code)
    texts = await finish(ann, texts, recovery_code=app.recovery_codes[0])
    texts = await finish(ann, texts, recovery_code=WRONG_RECOVERY_CODE)
    await client.post("/auth/login", {"email": EMAIL, "password": WRONG_PASSWORD})
    texts.append(await login_token(client))
    second = app.recovery_codes[1]
    assert (await ann.post("/auth/step-up", {"recovery_code": second})).status == 200
    renewed = (await ann.post("/auth/second-factor/recovery-codes")).json["recovery_codes"]
    replacement: Authenticator = await begin(ann)
    kept, revoked = await make_key(ann, "kept"), await make_key(ann, "revoked")
    assert (await client.get("/auth/me", token=kept[1])).status == 200
    assert (await ann.delete(f"/auth/keys/{revoked[0]}")).status == 204

    waiting = "SELECT count(*) FROM pgqueuer WHERE entrypoint ILIKE '%notice%'"
    assert await db.fetchval(waiting) > 0
    for table in ("totps", "totp_setups", "recovery_codes", "login_tokens", "api_keys"):
        assert await db.fetchval(f"SELECT count(*) FROM {table}") > 0, table
    everything = await read_everything(db)
    assert EMAIL.encode() in everything
    log = capsys.readouterr().out.encode()
    assert b"/auth/login/second-factor" in log
    everything += log

    for key in (kept[1], revoked[1]):
        # Its hint alone is kept, with four of its characters.
        texts += [key, key.partition("_")[2][:12], key[-12:]]
    secrets = [text.encode() for text in texts]
    codes = [*app.recovery_codes, *renewed, WRONG_RECOVERY_CODE]
    secrets += [form.encode() for code in codes for form in (code, code.replace("-", ""))]
    secrets += [bits_of(code) for code in codes]
    secrets += [each.secret for each in (app, replacement)]
    secrets += [b32encode(each.secret) for each in (app, replacement)]
    secrets.append(settings.secret_key.get_secret_value().encode())
    assert [secret for secret in secrets if holds(everything, secret)] == []
    # Between other characters than digits: times have six of them by chance.
    assert not re.search(rb"(?<![\w.])" + code.encode() + rb"(?![\w.+])", everything)


@pytest.mark.parametrize(
    "write",
    [bytes, lambda secret: secret.hex().encode(), b64encode, urlsafe_b64encode, b32encode],
    ids=["raw", "hex", "base64", "base64url", "base32"],
)
@pytest.mark.parametrize("before", range(5))
def test_secret_is_found_in_every_form(write: Callable[[bytes], bytes], before: int) -> None:
    secret = bytes(range(240, 260 - 4)) + b"?>~secret"
    assert holds(write(b"x" * before + secret + b"yz"), secret)
    assert not holds(write(b"x" * before + secret[:-1] + b"!yz"), secret)
