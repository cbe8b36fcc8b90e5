"""A response that breaks off."""

from collections.abc import AsyncIterator

from quart import Quart, Response


def add_broken(app: Quart) -> None:
    """Add a route, /broken, whose response fails after its first part."""

    @app.get("/broken")
    async def broken() -> Response:
        return Response(_parts())


async def _parts() -> AsyncIterator[bytes]:
    yield b"one"
    raise RuntimeError("in the middle")
