"""A client that records what it asks and is answered."""

import asyncio
import base64
import json
from collections.abc import Mapping
from random import Random
from time import monotonic
from typing import Any, Final

import httpx

from tests.support.storm.history import NO_ANSWER, Call

# Seconds. Longer than the service may take, so that an answer that comes is heard.
PATIENCE: Final = 20
# How often a client goes away in the middle, and after how many seconds at most.
ABORTS: Final = 0.03
ABORT_AFTER: Final = 0.05


class Recorder:
    """Sends requests, each over whatever connection is free, and records them."""

    def __init__(self, port: int, random: Random, calls: list[Call]) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
        self._random = random
        self._calls = calls

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(
        self,
        action: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        may_abort: bool = True,
        **recorded: str,
    ) -> Call:
        """Send a request, and return what came of it; some are given up in the middle."""
        sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        began, status, answer = monotonic(), NO_ANSWER, {}
        aborts = may_abort and self._random.random() < ABORTS
        limit = self._random.random() * ABORT_AFTER if aborts else None
        try:
            async with asyncio.timeout(limit):
                response = await self._http.request(method, path, json=body, headers=sent)
            status, answer = response.status_code, _read(response)
        except (httpx.TransportError, TimeoutError):
            pass
        call = Call(action, began, monotonic(), status, answer=answer, **recorded)
        self._calls.append(call)
        return call


def _read(response: httpx.Response) -> dict[str, Any]:
    """An answer's body, with its tag and the session of its tokens."""
    answer = response.json() if response.content else {}
    if tag := response.headers.get("ETag"):
        answer["tag"] = tag
    if token := answer.get("refresh_token"):
        answer["session_id"] = session_of(token)
    return dict(answer)


def session_of(token: str) -> str:
    """The login session that a token says it is of."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["sid"])
