"""Passkeys for tests: added to a client's account, and shown."""

from typing import Any

from service.testing.client import Answer
from tests.support.authenticator import SoftwareAuthenticator
from tests.support.client import Client
from tests.support.second_factor import verify_email

OPTIONS = "/auth/passkeys/options"
LOGIN = "/auth/login/passkey"


def authenticator_for(client: Client) -> SoftwareAuthenticator:
    """An authenticator in a browser that shows a page of the client's application."""
    party = client.app.settings.relying_party
    assert party is not None
    return SoftwareAuthenticator(origin=party.origins[0])


async def creation_options(client: Client, kind: str | None = None) -> Any:
    """The options for a new passkey; the address is made a verified one."""
    await verify_email(client)
    answer = await client.post(OPTIONS, {"kind": kind} if kind else None)
    assert answer.status == 200, answer.body
    return answer.json


async def add_passkey(
    client: Client,
    authenticator: SoftwareAuthenticator | None = None,
    kind: str | None = None,
    name: str | None = None,
) -> Any:
    """Add a passkey to a client's account, and return it as the service shows it."""
    authenticator = authenticator or authenticator_for(client)
    credential = authenticator.create(await creation_options(client, kind))
    more = {"name": name} if name else {}
    answer = await client.post("/auth/passkeys", {"credential": credential, **more})
    assert answer.status == 201, answer.body
    return answer.json


async def login_options(client: Client) -> Any:
    """The options for signing in with a passkey."""
    answer = await client.post(f"{LOGIN}/options", token="")
    assert answer.status == 200, answer.body
    return answer.json


async def show(client: Client, credential: Any, **options: Any) -> Answer:
    """Show a credential to sign in."""
    return await client.post(LOGIN, {"credential": credential}, token="", **options)


async def sign_in(client: Client, authenticator: SoftwareAuthenticator) -> Answer:
    """Sign in with a passkey alone."""
    return await show(client, authenticator.get(await login_options(client)))
