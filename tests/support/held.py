"""Requests whose headers are judged long before their bodies come."""

import asyncio
import json
from typing import Any

from service.testing.client import Client


class HeldRequest:
    """A request whose headers have come, and whose body has not."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def finish(self, body: object = None) -> tuple[int, Any]:
        """Send the body, and return the status and the body of the answer."""
        if body is not None:
            await self._connection.send(json.dumps(body).encode())
        await self._connection.send_complete()
        await asyncio.wait([self._connection._task], timeout=10)
        response = await self._connection.as_response()
        data = await response.get_data()
        return response.status_code, json.loads(data) if data else None


async def hold(client: Client, method: str, path: str) -> HeldRequest:
    """Begin a request of a client with a JSON body, which waits for the body."""
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    sender = client.app.test_client(use_cookies=False)
    connection = sender.request(path, method=method, headers=headers)
    await connection.__aenter__()
    await asyncio.sleep(0.3)  # until the guards have judged the headers
    return HeldRequest(connection)
