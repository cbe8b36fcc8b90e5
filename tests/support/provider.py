"""An external provider for tests: an OpenID provider and a GitHub, honest until told otherwise."""

import asyncio
import gzip
import hashlib
import json
import secrets
import warnings
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service import clock

CLIENT_ID: Final = "the service"
CLIENT_SECRET: Final = "its secret & more"


@lru_cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of this process, the same for the same name."""
    return rsa.generate_private_key(65537, bits)


@lru_cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class SigningKey:
    """A key of the provider; one without `kid` is published and used without."""

    key: Any
    algorithm: str = "RS256"
    kid: str | None = "one"
    extra: dict[str, Any] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        maker = RSAAlgorithm if self.algorithm[:2] in ("RS", "PS") else ECAlgorithm
        shown = json.loads(maker.to_jwk(self.key.public_key()))
        kid = {} if self.kid is None else {"kid": self.kid}
        return {**shown, **kid, "use": "sig", **self.extra}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Grant:
    """What a code is of."""

    nonce: str | None
    challenge: str | None
    redirect_uri: str
    claims: dict[str, Any]


Hook = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class Provider:
    """Serves on a port of 127.0.0.1. `hooks` answer in the place of a path, as they like."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self.hooks: dict[str, Hook] = {}
        self.keys = [SigningKey(rsa_key("one"))]
        self.signer: SigningKey | None = None
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None
        self.github_user: dict[str, Any] = {"id": 583231, "login": "octocat", "email": None}
        self.github_emails: Any = []
        self.token: str | None = None
        self.grants: dict[str, Grant] = {}
        self.open = 0
        self.most_open = 0
        self._access: dict[str, Grant] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(request.path == path for request in self.requests)

    def settings(self, **more: str) -> dict[str, str]:
        """What the service is told of this provider."""
        own = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": self.issuer}
        return {**own, **more}

    def consent(self, authorization_url: str, **claims: Any) -> dict[str, str]:
        """Sign somebody in, who agrees; returns the answer that the browser carries."""
        query = dict(parse_qsl(urlsplit(authorization_url).query))
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.grants[code] = Grant(
            query.get("nonce"), query["code_challenge"], query["redirect_uri"], claims
        )
        return {"code": code, "state": query["state"]}

    def id_token(self, grant: Grant) -> str:
        now = int(clock.now().timestamp())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "ada-1", "iat": now, "exp": now + 300,
            "nonce": grant.nonce, **grant.claims, **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not ...}
        signer = self.signer or self.keys[0]
        header = ({} if signer.kid is None else {"kid": signer.kid}) | self.header
        # Not by `encode`, which refuses some of what a provider must not say.
        payload = json.dumps(claims).encode()
        with warnings.catch_warnings():  # of short keys
            warnings.simplefilter("ignore")
            return jwt.PyJWS().encode(payload, signer.key, signer.algorithm, headers=header)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                method, path, _ = first.split(" ")
                pairs = (line.split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(method, path.partition("?")[0], headers, body)
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    hook = self.hooks.get(request.path)
                    await (hook(request, writer) if hook else self.answer(request, writer))
                    await writer.drain()
                finally:
                    self.open -= 1
        writer.close()

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        match request.path:
            case "/.well-known/openid-configuration":
                send_json(writer, self.discovery())
            case "/keys":
                send_json(writer, {"keys": [key.public() for key in self.keys]})
            case "/token":
                self._exchange(request, writer)
            case "/userinfo":
                send_json(writer, self.userinfo or {})
            case "/login/oauth/access_token":
                self._exchange_at_github(request, writer)
            case "/api/v3/user":
                send_json(writer, {**self.github_user, **self._grant_of(request).claims})
            case "/api/v3/user/emails":
                send_json(writer, self.github_emails)
            case _:
                send_json(writer, {"error": "not_found"}, 404)

    def discovery(self) -> dict[str, Any]:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            **self.metadata,
        }
        return {name: value for name, value in document.items() if value is not ...}

    def _exchange(self, request: Request, writer: asyncio.StreamWriter) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            client = [unquote_plus(part) for part in b64decode(pair).decode().split(":")]
        else:
            client = [form.get("client_id", ""), form.get("client_secret", "")]
        if client != [CLIENT_ID, CLIENT_SECRET]:
            send_json(writer, {"error": "invalid_client"}, 401)
            return
        grant = self._redeem(form)
        if grant is None:
            send_json(writer, {"error": "invalid_grant"}, 400)
            return
        access = self._access_token(grant)
        token = self.token if self.token is not None else self.id_token(grant)
        send_json(writer, {"access_token": access, "token_type": "Bearer", "id_token": token})

    def _exchange_at_github(self, request: Request, writer: asyncio.StreamWriter) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        assert [form["client_id"], form["client_secret"]] == [CLIENT_ID, CLIENT_SECRET]
        grant = self._redeem(form)
        if grant is None:
            send_json(writer, {"error": "bad_verification_code"})
            return
        send_json(writer, {"access_token": self._access_token(grant), "token_type": "bearer"})

    def _redeem(self, form: dict[str, str]) -> Grant | None:
        grant = self.grants.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if grant is None or grant.redirect_uri != form.get("redirect_uri"):
            return None
        return grant if challenge == grant.challenge else None

    def _access_token(self, grant: Grant) -> str:
        token = secrets.token_urlsafe(16)
        self._access[token] = grant
        return token

    def _grant_of(self, request: Request) -> Grant:
        return self._access[request.headers["authorization"].removeprefix("Bearer ")]


def send(writer: asyncio.StreamWriter, body: bytes, status: int = 200, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **named}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body)


def send_json(writer: asyncio.StreamWriter, payload: Any, status: int = 200) -> None:
    send(writer, json.dumps(payload).encode(), status)


def raw(body: bytes, status: int = 200, **headers: str) -> Hook:
    """A hook that answers always the same."""

    async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
        send(writer, body, status, **headers)

    return answer


def gzip_bomb() -> Hook:
    """A hook whose answer is a thousand times longer once it is decoded."""
    return raw(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip")


async def silence(_request: Request, _writer: asyncio.StreamWriter) -> None:
    """A hook that never answers."""
    await asyncio.Event().wait()


async def drip(_request: Request, writer: asyncio.StreamWriter) -> None:
    """A hook that sends a byte from time to time."""
    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
    """A hook that sends without end."""
    writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def serving() -> AsyncIterator[Provider]:
    """A provider, until the block ends."""
    provider = Provider()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await provider.serve(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
