"""The request: its headers, and JSON bodies, strictly read and bounded in memory."""

from functools import cache
from typing import Any, Final, NoReturn, Self, cast

from hypercorn.typing import HTTPScope
from quart import Request
from quart.wrappers.request import Body
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import BadRequest, UnsupportedMediaType


class BoundedBody(Body):
    """A body that takes nothing beyond its limit, or after its end.

    Quart 0.23 buffers a chunked upload whole before it looks at the limit.
    """

    _received = 0

    async def feed(self, data: bytes) -> None:
        """Take a piece."""
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

    def forget(self) -> None:
        """Let go of what came; an error that was raised for it refers to this, and this to it."""
        self._must_raise = None
        self.clear()


_JSON: Final = "application/json"
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")  # RFC 8259, §6


class RequestHeaders(Headers):
    """A request's headers, by names in lower case, as ASGI has them."""

    @classmethod
    def of(cls, scope: HTTPScope) -> Self:
        """Read a scope's; the address of the client comes first, where Quart looks for it."""
        headers = cls()
        client = scope.get("client")
        headers.add("remote-addr", client[0] if client else "<local>")
        for name, value in scope["headers"]:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        return headers

    def get(  # type: ignore[override]  # its overloads
        self, key: str, default: Any = None, *more: Any, **options: Any
    ) -> Any:
        """Read a header; werkzeug's way raises and catches an error for each that is not there."""
        if more or options:
            return super().get(key, default, *more, **options)
        wanted = key.lower()
        for name, value in self:
            if name == wanted:
                return value
        return default


@cache
def _blueprints(endpoint: str) -> list[str]:
    return [endpoint.rpartition(".")[0]] if "." in endpoint else []


class ApiRequest(Request):
    """A request whose body is a JSON object in UTF-8, or is refused with a clear 4xx."""

    body_class = BoundedBody
    body: BoundedBody

    @property
    def blueprints(self) -> list[str]:
        """The blueprint of the route; ours are not nested."""
        rule = self.url_rule
        return _blueprints(rule.endpoint) if rule is not None else []

    @property
    def may_have_body(self) -> bool:
        """Whether a body may come (RFC 9112, §6.3; HTTP/2 may leave out its length)."""
        return (
            self.method not in _WITHOUT_BODY
            or self.headers.get("content-length") is not None
            or self.headers.get("transfer-encoding") is not None
        )

    async def get_json(
        self, force: bool = False, silent: bool = False, cache: bool = True
    ) -> dict[str, Any]:
        """Read the body.

        Raises UnsupportedMediaType (415), RequestEntityTooLarge (413) or BadRequest (400).
        """
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
