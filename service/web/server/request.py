"""The request: its headers, and JSON bodies, parsed strictly and bounded in memory."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NoReturn, Self, cast

from hypercorn.typing import HTTPScope
from quart import Request
from quart.wrappers.request import Body
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import BadRequest, ContentCodingRefused, UnsupportedMediaType


class BoundedBody(Body):
    """A body that buffers nothing beyond its limit or after its end.

    Quart 0.23 buffers a chunked upload completely before it checks the limit.
    """

    _received = 0
    # Asks the client for the body (100-continue), until it is called.
    request_body: Callable[[], None] | None = None

    def start(self) -> None:
        """Have the body sent by a client that waits to be asked for it."""
        if self.request_body is not None:
            self.request_body()
            self.request_body = None

    @property
    def too_large(self) -> bool:
        """Whether the declared or received length is over the limit."""
        return self._must_raise is not None

    @property
    def settled(self) -> bool:
        """Whether reading needs no waiting: the body is complete, or too large."""
        return self._complete.is_set() or self.too_large

    async def feed(self, data: bytes) -> None:
        """Add a chunk."""
        self._received += len(data)
        limit: int | None = self._max_content_length
        if limit is not None and self._received > limit and self._must_raise is None:
            self._must_raise = RequestEntityTooLarge()
            self.set_complete()
        if self._complete.is_set() or self._must_raise is not None:
            return
        if hasattr(self, "put"):
            await self.put(data)
        else:  # 0.22
            self.append(data)

    def discard(self) -> None:
        """Drop the buffer and its error, whose traceback refers to this body."""
        self.request_body = None
        self._must_raise = None
        self.clear()


_JSON: Final = "application/json"
_NO_CODING: Final = frozenset({"", "identity"})
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")  # RFC 8259, §6


class RequestHeaders(Headers):
    """A request's headers, by the names in lower case that ASGI has."""

    @classmethod
    def from_scope(cls, scope: HTTPScope) -> Self:
        """Return the headers of an ASGI scope after the client's address, where Quart reads it."""
        headers = cls()
        client = scope.get("client")
        headers.add("remote-addr", client[0] if client else "<local>")
        for name, value in scope["headers"]:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        return headers

    def get(  # type: ignore[override]  # its overloads
        self, key: str, default: Any = None, *more: Any, **options: Any
    ) -> Any:
        """Return a header or `default`; werkzeug raises and catches an exception inside."""
        if more or options:
            return super().get(key, default, *more, **options)
        lower = key.lower()
        for name, value in self:
            if name == lower:
                return value
        return default


@cache
def _blueprints(endpoint: str) -> list[str]:
    return [endpoint.rpartition(".")[0]] if "." in endpoint else []


class ApiRequest(Request):
    """A request whose body must be a JSON object in UTF-8."""

    body_class = BoundedBody
    body: BoundedBody

    @property
    def blueprints(self) -> list[str]:
        """The blueprint of the route, alone, because none is nested."""
        rule = self.url_rule
        return _blueprints(rule.endpoint) if rule is not None else []

    @property
    def may_have_body(self) -> bool:
        """Whether a body may follow (RFC 9112, §6.3); HTTP/2 may omit its length."""
        return (
            self.method not in _WITHOUT_BODY
            or self.headers.get("content-length") is not None
            or self.headers.get("transfer-encoding") is not None
        )

    @property
    def expects_continue(self) -> bool:
        """Whether the client sends no body before it is asked for it (RFC 9110, §10.1.1)."""
        return self.headers.get("expect", "").lower() == "100-continue"

    async def get_data(  # type: ignore[override]  # its overloads
        self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False
    ) -> bytes | str:
        """Return the body. Raises RequestEntityTooLarge (413)."""
        if not self.body.too_large:
            self.body.start()
        if parse_form_data or not self.body.settled:
            return await super().get_data(cache, as_text, parse_form_data)
        data = cast(bytes, await self.body)  # without Quart's timeout, which is a task and a timer
        if not cache:
            self.body.clear()
        return data.decode() if as_text else data

    async def get_json(
        self, force: bool = False, silent: bool = False, cache: bool = True
    ) -> dict[str, Any]:
        """Return the parsed body.

        Raises UnsupportedMediaType (415), RequestEntityTooLarge (413) or BadRequest (400).
        """
        codings = self.headers.getlist("content-encoding")
        if any(coding.strip().lower() not in _NO_CODING for coding in codings):
            raise ContentCodingRefused
        if self.mimetype != _JSON:
            raise UnsupportedMediaType
        data = cast(bytes, await self.get_data(cache=cache, as_text=False))
        try:
            value = self.json_module.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BadRequest("The body is not valid JSON") from None
        if not isinstance(value, dict):
            raise BadRequest("The body must be a JSON object")
        return value
