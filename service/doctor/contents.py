"""What is in the tables and waits for somebody: secrets without a key, jobs without a worker."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from service.auth.encryption.encryption import Encryption
from service.auth.encryption.missing_keys import find_missing_keys
from service.doctor.findings import Deployment, Findings, say_wrong
from service.jobs.queue import count_jobs, read_waits

# Seconds that a job may be due: an idle worker needs less than one.
PATIENCE: Final = 60.0
SILENT: Final = 600.0


async def check_encryption(
    connection: AsyncConnection, deployment: Deployment, found: Findings
) -> None:
    """Look whether every stored secret has its key."""
    settings = deployment.settings
    lost = {"ENCRYPTION_KEYS"} if settings.encryption_keys else {"SECRET_KEY", "DATA_DIR"}
    if wrong := deployment.wrong & (lost | {"ENCRYPTION_KEYS"}):
        found.skipped(f"not looked at, because {say_wrong(wrong)}")
        return
    if missing := await find_missing_keys(connection, Encryption(settings)):
        found.problem(missing, "give the key back: docs/operations.md, Rotation of encryption keys")
    else:
        found.ok("every stored secret has its encryption key")


async def check_jobs(connection: AsyncConnection, _deployment: Deployment, found: Findings) -> None:
    """Look for jobs that failed, and for a worker by the age of what is due."""
    counts = await count_jobs(connection)
    if failed := int(counts["failed",]):
        found.warning(
            f"{failed} job{'' if failed == 1 else 's'} failed for good",
            "see why by `service jobs`, and try again by `service jobs --retry`",
        )
    due, _mails = await read_waits([], connection)
    age = due[()]
    words = f"a job has been due for {age:.0f} s"
    advice = "see whether `service worker` runs, and what its log says"
    if age > SILENT:
        found.problem(f"{words}: no worker does it", advice)
    elif age > PATIENCE:
        found.warning(words, advice)
    else:
        found.ok(f"no job waits for a worker; {int(counts['queued',])} wait for their time")
