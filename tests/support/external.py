"""Signing in through a provider, as a client of the service does."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from service.testing.client import Answer
from tests.support.client import Client
from tests.support.provider import Provider

RETURN_TO = "http://app.test/signed-in"
VERIFIED = {"email": "ada@example.com", "email_verified": True, "name": "Ada Lovelace"}


@dataclass
class Flow:
    """A sign-in that a client began: only it has the verifier."""

    name: str = "acme"
    return_to: str = RETURN_TO
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    authorization_url: str = ""

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


async def start(client: Client, flow: Flow) -> Answer:
    """Ask where to send the person."""
    body = {"return_to": flow.return_to, "code_challenge": flow.challenge}
    return await client.post(f"/auth/external/{flow.name}", body, token="")


async def begin(client: Client, **values: Any) -> Flow:
    """Begin a sign-in."""
    flow = Flow(**values)
    answer = await start(client, flow)
    assert answer.status == 200, answer.body
    flow.authorization_url = answer.json["authorization_url"]
    return flow


async def come_back(client: Client, flow: Flow, carried: dict[str, str]) -> dict[str, str]:
    """Carry the provider's answer to the service; returns what it adds to `return_to`."""
    path = f"/auth/external/{flow.name}/callback"
    answer = await client.get(path, query_string=carried, token="")
    assert answer.status == 303, answer.body
    url = answer.headers["Location"]
    assert url.startswith(flow.return_to)
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def obtain_code(client: Client, provider: Provider, flow: Flow, **claims: Any) -> str:
    """Sign a person in at the provider, and return the service's own code."""
    carried = provider.consent(flow.authorization_url, **claims)
    return (await come_back(client, flow, carried))["code"]


async def redeem(client: Client, code: str, verifier: str, **options: Any) -> Answer:
    """Exchange the service's code for a session."""
    body = {"code": code, "code_verifier": verifier}
    return await client.post("/auth/login/external", body, token="", **options)


async def sign_in(client: Client, provider: Provider, name: str = "acme", **claims: Any) -> Answer:
    """The whole sign-in of a person; without claims of one with a proven address."""
    flow = await begin(client, name=name)
    code = await obtain_code(client, provider, flow, **(claims or VERIFIED))
    return await redeem(client, code, flow.verifier)


async def signed_in(client: Client, provider: Provider, **claims: Any) -> Client:
    """A client of its own, signed in through the provider."""
    answer = await sign_in(client, provider, **claims)
    assert answer.status == 200, answer.body
    other = Client(client.app, answer.json["access_token"])
    other.user, other.refresh_token = answer.json["user"], answer.json["refresh_token"]
    return other


async def link(one: Client, provider: Provider, name: str = "acme", **claims: Any) -> Answer:
    """Link a person at the provider to the client's own account."""
    flow = await begin(one, name=name)
    code = await obtain_code(one, provider, flow, **(claims or VERIFIED))
    return await one.post("/auth/identities", {"code": code, "code_verifier": flow.verifier})
