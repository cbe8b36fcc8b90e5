"""Asking for a link by mail."""

from tests.support.client import Client

NEW_PASSWORD = "a quite different passphrase"


async def forget(client: Client, email: str) -> None:
    answer = await client.post("/auth/password/forgot", {"email": email})
    assert answer.status == 202
