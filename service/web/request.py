"""The request: JSON bodies, strictly read and bounded in memory."""

from typing import Any, Final, NoReturn, cast

from quart import Request
from quart.wrappers.request import Body
from werkzeug.exceptions import RequestEntityTooLarge

from service.errors import BadRequest, ServiceError


class UnsupportedMediaType(ServiceError):
    """The body is not declared as JSON."""

    status = 415
    default_message = "Send the body as application/json"


class ContentTooLarge(ServiceError):
    """The body is longer than MAX_CONTENT_LENGTH."""

    status = 413
    default_message = "The body is too large"


class BoundedBody(Body):
    """A body that stops taking data beyond its limit.

    Quart 0.23 buffers a chunked upload whole before it looks at the limit; 0.22 stops by itself.
    """

    _received = 0

    async def put(self, data: bytes) -> None:
        self._received += len(data)
        limit: int | None = self._max_content_length
        if limit is not None and self._received > limit:
            if self._must_raise is None:
                self._must_raise = RequestEntityTooLarge()
                self.set_complete()
            return
        await super().put(data)  # type: ignore[misc,unused-ignore]  # not in 0.22


# What 0.22 has instead of `put` is bounded.
_BODY_CLASS: Final = BoundedBody if hasattr(Body, "put") else Body
_JSON: Final = "application/json"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")  # RFC 8259, §6


class ApiRequest(Request):
    """A request whose body is a JSON object in UTF-8, or is refused with a clear 4xx."""

    body_class = _BODY_CLASS

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
