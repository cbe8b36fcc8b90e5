"""A client that keeps cookies as a browser does."""

from http.cookies import Morsel, SimpleCookie
from typing import Any

from service.testing.client import PASSWORD, Answer
from service.web.server.application import Service
from tests.support.client import Client

BY_COOKIE = {"X-Token-Transport": "cookie"}


def set_cookies(answer: Answer) -> "dict[str, Morsel[str]]":
    """The cookies that an answer sets, by name."""
    found: dict[str, Morsel[str]] = {}
    for line in answer.headers.getlist("Set-Cookie"):
        found.update(SimpleCookie(line))
    return found


class Browser(Client):
    """Sends back the cookies it got, where their paths say, and what scripts may read of them."""

    def __init__(self, app: Service) -> None:
        super().__init__(app)
        self.jar: dict[str, Morsel[str]] = {}

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        csrf: str | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request; `csrf` is sent in place of the session's own token, "" sends none."""
        headers = dict(options.pop("headers", {}))
        sent = [
            f"{name}={morsel.value}"
            for name, morsel in self.jar.items()
            if path.startswith(morsel["path"])
        ]
        if sent:
            headers.setdefault("Cookie", "; ".join(sent))
        confirmation = self.csrf if csrf is None else csrf
        if confirmation:
            headers.setdefault("X-CSRF-Token", confirmation)
        answer = await super().request(method, path, token=token, headers=headers, **options)
        for name, morsel in set_cookies(answer).items():
            if morsel["max-age"] == "0":
                self.jar.pop(name, None)
            else:
                self.jar[name] = morsel
        return answer

    @property
    def csrf(self) -> str:
        """What scripts read of the jar."""
        return self.value("csrf_token")

    def value(self, name: str) -> str:
        """A cookie's value; empty without it."""
        return self.jar[name].value if name in self.jar else ""

    async def enter(self, email: str, password: str = PASSWORD) -> Answer:
        """Log in by cookie."""
        credentials = {"email": email, "password": password}
        return await self.post("/auth/login", credentials, headers=BY_COOKIE)


async def open_browser(client: Client, email: str | None = None) -> Browser:
    """A browser that is logged in, by default with a new account."""
    if email is None:
        email = (await client.register()).json["email"]
    browser = Browser(client.app)
    answer = await browser.enter(email)
    assert answer.status == 200, answer.body
    browser.user = answer.json["user"]
    return browser
