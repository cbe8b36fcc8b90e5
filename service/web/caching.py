"""What caches may keep."""

from quart import Blueprint, Response


async def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def never_store(blueprint: Blueprint) -> Blueprint:
    """Let no cache keep a blueprint's answers (RFC 9111, §5.2.2.5)."""
    blueprint.after_request(_no_store)
    return blueprint
