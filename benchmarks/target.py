"""A peer that runs, as the makers of requests see it."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PASSWORD = "correct horse battery staple"
ACCOUNTS = 20
TOKENS = 200
LOGINS_AT_ONCE = 8


def http(
    method: str, path: str, *, token: str = "", body: object = None, if_match: str = ""
) -> bytes:
    """One HTTP/1.1 request."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: */*"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if if_match:
        lines.append(f"If-Match: {if_match}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


@dataclass
class Target:
    """Where a peer listens, what its database holds, and the accounts made on it."""

    name: str
    ports: list[int]
    post_ids: list[str]
    database: str = ""
    accounts: list[str] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns = cycle(self.ports)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        port: int | None = None,
        token: str = "",
    ) -> Any:
        """The answer's JSON. Raises urllib.error.URLError: HTTPError, closed, for any failure."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = Request(
            f"http://127.0.0.1:{port or next(self.turns)}{path}",
            None if body is None else json.dumps(body).encode(),
            headers,
            method=method,
        )
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise

    def credentials(self) -> list[dict[str, str]]:
        """Accounts of the peer's own kind of password hash, registered at the first call."""
        if not self.accounts:
            for number in range(ACCOUNTS):
                name = f"{self.name}-{number:02}"
                email = f"{name}@example.com"
                account = {"username": name, "email": email, "password": PASSWORD}
                self.call("POST", "/auth/register", account)
                self.accounts.append(email)
        return [{"email": email, "password": PASSWORD} for email in self.accounts]

    def access_tokens(self) -> list[str]:
        """Different access tokens, each of a login of its own, made at the first call."""
        if not self.logins:
            self.logins = self.log_in()
        return [answer["access_token"] for answer in self.logins]

    def log_in(self) -> list[dict[str, Any]]:
        """The answers to new logins, which share the accounts."""
        logins: Sequence[dict[str, str]] = self.credentials() * (TOKENS // ACCOUNTS)
        with ThreadPoolExecutor(LOGINS_AT_ONCE) as pool:
            return list(pool.map(partial(self.call, "POST", "/auth/login"), logins))
