"""The Redis or Valkey server of REDIS_URL."""

from typing import Any, Final

from valkey.asyncio import Valkey
from valkey.exceptions import AuthenticationError, ValkeyError

from service.doctor.findings import Deployment, Findings
from service.ids import new_id_text

SECONDS: Final = 2.0
# Of the limiter's keys, which the server's user may be bound to.
_KEY: Final = "LIMITS:doctor:{}"
KEPT: Final = 10  # seconds
# By a script, as limits are counted.
_SCRIPT: Final = (
    f"redis.call('SET', KEYS[1], ARGV[1], 'EX', {KEPT}) return redis.call('GET', KEYS[1])"
)


async def check(deployment: Deployment, found: Findings) -> None:
    """Look whether the server does what limits need, and what it does when its memory is full."""
    url = deployment.settings.redis_url
    if url is None:
        found.skipped("REDIS_URL is unset")
        return
    server = Valkey.from_url(
        url.get_secret_value(), socket_timeout=SECONDS, socket_connect_timeout=SECONDS
    )
    try:
        await _look(server, found)
    except AuthenticationError:
        found.problem("the server refuses the user or the password of REDIS_URL", "correct them")
    except (ValkeyError, OSError) as error:
        found.problem(
            f"the server of REDIS_URL does not answer ({type(error).__name__})",
            "start it, or change REDIS_URL; meanwhile nothing but logins is limited",
        )
    finally:
        await server.aclose()


async def _look(server: Valkey, found: Findings) -> None:
    await server.ping()
    try:
        key, value = _KEY.format(new_id_text()), new_id_text()
        kept: Any = await server.eval(_SCRIPT, 1, key, value)  # type: ignore[misc]
    except ValkeyError as error:
        found.problem(
            f"the server does not let limits be counted ({type(error).__name__})",
            "give its user EVAL, EVALSHA, SCRIPT, GET, SET, INCRBY, PTTL, EXISTS and RENAME on "
            "LIMITS*, and see that it is no replica and has memory",
        )
        return
    if kept != value.encode():
        found.problem("the server does not return what it was given", "see what answers there")
    info = await _info(server)
    if info is None:
        found.ok("the server counts limits; its user may not ask for INFO")
        return
    name = info.get("server_name", "redis")
    version = info.get("valkey_version") or info.get("redis_version")
    found.ok(f"{name} {version} counts limits")
    _check_memory(info, found)


async def _info(server: Valkey) -> dict[str, Any] | None:
    try:
        return dict(await server.info())
    except ValkeyError:
        return None


def _check_memory(info: dict[str, Any], found: Findings) -> None:
    policy = info.get("maxmemory_policy")
    if info.get("maxmemory") and policy == "noeviction":
        found.warning(
            "maxmemory-policy is noeviction: with a full memory no limit is counted",
            "set maxmemory-policy to volatile-ttl",
        )
    elif info.get("maxmemory"):
        found.ok(f"maxmemory-policy is {policy}")
    else:
        found.ok("maxmemory is unset", "with a limit and volatile-ttl it can't fill its machine")
