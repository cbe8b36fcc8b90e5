"""The plugin's client, every answer to which is held against the OpenAPI document."""

from typing import Any

from werkzeug.http import HTTP_STATUS_CODES

from service.testing import client
from service.testing.client import Answer
from tests.support.conformance import check_answer


class Client(client.Client):
    """A client of the application under test."""

    async def request(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> Answer:
        """Send a request; `token` wins over the client's own, "" sends none."""
        answer = await super().request(method, path, token=token, **options)
        check_answer(
            self.app, method, path, answer.status, answer.headers, answer.body, answer.json
        )
        return answer


# What failures have on top that have a reason.
FURTHER = {"errors", "reason", "methods", "login_token", "expires_in", "factors"}


def refused(answer: Answer, status: int, message: str | None = None) -> dict[str, Any]:
    """Assert that a failure has the one shape; returns its body."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    members = {"error", "message", "code", "request_id"}
    further = FURTHER if "reason" in answer.json else {"errors"}
    assert members <= set(answer.json) <= members | further
    for messages in answer.json.get("errors", {}).values():
        assert messages
        assert all(message.startswith("This field ") for message in messages)
    assert answer.json["error"] == HTTP_STATUS_CODES[status]
    assert answer.json["code"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert message is None or answer.json["message"] == message
    found: dict[str, Any] = answer.json
    return found


def faults(answer: Answer) -> set[str]:
    """Assert that the values were refused; returns the names of the fields."""
    return set(refused(answer, 400)["errors"])
