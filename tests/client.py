"""A client of the application under test."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from quart import Response
from quart.typing import TestClientProtocol
from werkzeug.http import HTTP_STATUS_CODES

from service.web.server.application import Service
from tests.conformance import check_answer

PASSWORD = "correct horse battery staple"
_numbers = count(1)


@dataclass
class Answer:
    """A response, read to its end."""

    status: int
    headers: Any
    body: bytes
    json: Any


class Client:
    """Speaks JSON with the application in this process, with a token when it has one."""

    def __init__(self, app: Service, token: str | None = None) -> None:
        self.app = app
        self.token = token
        self.user: dict[str, Any] = {}
        self.refresh_token = ""
        self._client: TestClientProtocol = app.test_client(use_cookies=False)

    async def request(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> Answer:
        """Send a request; `token` wins over the client's own, "" sends none."""
        headers = dict(options.pop("headers", {}))
        bearer = self.token if token is None else token
        if bearer:
            headers.setdefault("Authorization", f"Bearer {bearer}")
        response = await self._client.open(path, method=method, headers=headers, **options)
        answer = await read(response)
        check_answer(
            self.app, method, path, answer.status, answer.headers, answer.body, answer.json
        )
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("POST", path, **_body(json, options))

    async def put(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("PUT", path, **_body(json, options))

    async def patch(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("PATCH", path, **_body(json, options))

    async def delete(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("DELETE", path, **_body(json, options))

    async def register(self, email: str | None = None, **values: Any) -> Answer:
        """Register an account, by default a new one."""
        email = email or f"person{next(_numbers)}@example.com"
        return await self.post("/auth/register", {"email": email, "password": PASSWORD, **values})

    async def login(self, email: str, password: str = PASSWORD) -> Answer:
        """Log in and keep the tokens when it succeeds."""
        answer = await self.post("/auth/login", {"email": email, "password": password}, token="")
        if answer.status == 200:
            self.token = answer.json["access_token"]
            self.refresh_token = answer.json["refresh_token"]
            self.user = answer.json["user"]
        return answer

    async def sign_up(self, **values: Any) -> "Client":
        """Register a new account and log in, as a client of its own."""
        other = Client(self.app)
        registered = await other.register(**values)
        assert registered.status == 201, registered.body
        password = values.get("password", PASSWORD)
        assert (await other.login(registered.json["email"], password)).status == 200
        return other


def _body(json: Any, options: dict[str, Any]) -> dict[str, Any]:
    return options if json is None else {**options, "json": json}


async def read(response: Response) -> Answer:
    """Read a response to its end."""
    body: bytes = await response.get_data(as_text=False)
    json = await response.get_json() if response.is_json else None
    return Answer(response.status_code, response.headers, body, json)


def refused(answer: Answer, status: int, message: str | None = None) -> dict[str, Any]:
    """Assert that a failure has the one shape; returns its body."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    members = {"error", "message", "code", "request_id"}
    assert members <= set(answer.json) <= members | {"errors"}
    assert answer.json["error"] == HTTP_STATUS_CODES[status]
    assert answer.json["code"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert message is None or answer.json["message"] == message
    found: dict[str, Any] = answer.json
    return found


def faults(answer: Answer) -> set[str]:
    """Assert that the values were refused; returns the names of the fields."""
    errors = refused(answer, 400)["errors"]
    assert all(messages and all(messages) for messages in errors.values())
    return set(errors)
