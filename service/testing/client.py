"""A client of the application in this process, by Quart's test client."""

from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Self
from uuid import UUID

from quart import Response

from service.admin.users import grant_admin
from service.testing.application import in_this_loop
from service.web.server.application import Service

PASSWORD: Final = "correct horse battery staple"  # noqa: S105
_numbers: Final = count(1)


@dataclass
class Answer:
    """A response, read to its end; `json` is None where it is not JSON."""

    status: int
    headers: Any
    body: bytes
    json: Any


class Client:
    """Speaks JSON with the application, as somebody when it has a token.

    `user` is the account as the service showed it at the login.
    """

    def __init__(self, app: Service, token: str | None = None) -> None:
        self.app = app
        self.token = token
        self.user: dict[str, Any] = {}
        self.refresh_token = ""

    async def request(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> Answer:
        """Send a request; `token` wins over the client's own, "" sends none.

        The options are those of Quart's test client, such as `headers`, `query_string` and `data`.
        """
        headers = dict(options.pop("headers", {}))
        bearer = self.token if token is None else token
        if bearer:
            headers.setdefault("Authorization", f"Bearer {bearer}")
        async with in_this_loop(self.app) as app:
            client = app.test_client(use_cookies=False)
            return await read(await client.open(path, method=method, headers=headers, **options))

    async def get(self, path: str, **options: Any) -> Answer:
        """Send GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """Send POST, with a JSON body when one is given."""
        return await self.request("POST", path, **_body(json, options))

    async def put(self, path: str, json: Any = None, **options: Any) -> Answer:
        """Send PUT, with a JSON body when one is given."""
        return await self.request("PUT", path, **_body(json, options))

    async def patch(self, path: str, json: Any = None, **options: Any) -> Answer:
        """Send PATCH, with a JSON body when one is given."""
        return await self.request("PATCH", path, **_body(json, options))

    async def delete(self, path: str, json: Any = None, **options: Any) -> Answer:
        """Send DELETE, with a JSON body when one is given."""
        return await self.request("DELETE", path, **_body(json, options))

    async def register(self, email: str | None = None, **values: Any) -> Answer:
        """Register an account, by default with a new address and the usual password."""
        email = email or f"person{next(_numbers)}@example.com"
        return await self.post("/auth/register", {"email": email, "password": PASSWORD, **values})

    async def login(self, email: str, password: str = PASSWORD) -> Answer:
        """Log in, and keep the tokens when it succeeds."""
        answer = await self.post("/auth/login", {"email": email, "password": password}, token="")
        if answer.status == 200:
            self.token = answer.json["access_token"]
            self.refresh_token = answer.json["refresh_token"]
            self.user = answer.json["user"]
        return answer

    async def sign_up(self, email: str | None = None, **values: Any) -> Self:
        """Register an account and log in to it. Returns a client of its own.

        Raises AssertionError when the service refuses.
        """
        other = type(self)(self.app)
        registered = _expect(201, await other.register(email, **values))
        password = values.get("password", PASSWORD)
        _expect(200, await other.login(registered.json["email"], password))
        return other

    async def as_user(self, email: str | None = None, password: str = PASSWORD) -> Self:
        """Log in to the account of this email, registered first when there is none.

        Returns a client of its own; by default a new account's. Raises AssertionError when the
        service refuses.
        """
        other = type(self)(self.app)
        if email is not None and (await other.login(email, password)).status == 200:
            return other
        return await self.sign_up(email, password=password)

    async def as_admin(self, email: str | None = None, password: str = PASSWORD) -> Self:
        """Log in as `as_user` does, to an account that is made an administrator's."""
        other = await self.as_user(email, password)
        async with in_this_loop(self.app) as app, app.database.session() as session:
            await grant_admin(session, UUID(other.user["id"]))
            await session.commit()
        return other


def _body(json: Any, options: dict[str, Any]) -> dict[str, Any]:
    return options if json is None else {**options, "json": json}


def _expect(status: int, answer: Answer) -> Answer:
    if answer.status != status:
        raise AssertionError(f"the service answered {answer.status}: {answer.body!r}")
    return answer


async def read(response: Response) -> Answer:
    """Read a response to its end."""
    body: bytes = await response.get_data(as_text=False)
    json = await response.get_json() if response.is_json else None
    return Answer(response.status_code, response.headers, body, json)
