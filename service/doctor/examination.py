"""All checks of a deployment, side by side, each with a time limit."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from service.doctor import (
    configuration,
    database,
    keys,
    mail,
    providers,
    proxies,
    public_url,
    redis,
    replica,
    traces,
)
from service.doctor.findings import Deployment, Finding, Findings, say_wrong
from service.doctor.unjoined import Unjoined

# Seconds of a check that asks once, and of one that asks several times.
ONCE: Final = 5.0
SEVERAL: Final = 8.0


@dataclass(frozen=True)
class Check:
    """A check, and the settings without which there is nothing to look at."""

    subject: str
    look: Callable[[Deployment, Findings], Awaitable[None]]
    needs: tuple[str, ...] = ()
    seconds: float = ONCE


CHECKS: Final = (
    Check(configuration.SUBJECT, configuration.check),
    Check("database", database.check, ("DATABASE_URL", "DATABASE_SCHEMA"), SEVERAL),
    Check("replica", replica.check, ("DATABASE_REPLICA_URL", "DATABASE_URL"), SEVERAL),
    Check("redis", redis.check, ("REDIS_URL",)),
    Check("mail", mail.check, ("SMTP_URL", "SMTP_TLS", "MAIL_FROM")),
    Check("keys", keys.check, ("JWT_KEYS_DIR",)),
    Check("public address", public_url.check, ("PUBLIC_URL",), SEVERAL),
    Check("proxies", proxies.check, ("PUBLIC_URL",), SEVERAL),
    Check("providers", providers.check, (), SEVERAL),
    Check("traces", traces.check),
)


async def examine(deployment: Deployment) -> list[Finding]:
    """Return what all checks find; never raises for what is wrong with the deployment."""
    asyncio.get_running_loop().set_default_executor(Unjoined())
    found = await asyncio.gather(*(run_check(check, deployment) for check in CHECKS))
    return [finding for listed in found for finding in listed]


async def run_check(check: Check, deployment: Deployment) -> list[Finding]:
    """Return what one check finds, at the latest when its time is over."""
    found = Findings(check.subject)
    if wrong := deployment.wrong.intersection(check.needs):
        found.skipped(f"not looked at, because {say_wrong(wrong)}")
        return found.listed
    try:
        async with asyncio.timeout(check.seconds):
            await check.look(deployment, found)
    except TimeoutError:
        found.problem(f"no answer within {check.seconds:g} s", "see that it runs and is reachable")
    # Whatever a library raises: the other findings are worth as much.
    except Exception as error:  # noqa: BLE001
        found.problem(f"could not be looked at ({type(error).__name__})")
    return found.listed
