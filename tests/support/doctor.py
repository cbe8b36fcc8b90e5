"""What a check of `service doctor` finds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.doctor.findings import Deployment, Finding, Findings, Status
from service.settings import Settings

Look = Callable[[Deployment, Findings], Awaitable[None]]


@dataclass(frozen=True)
class Found:
    """Findings, to be asked for their words."""

    listed: list[Finding]

    def __getitem__(self, status: str) -> str:
        """The messages and the advice of a status, in one text; empty without any."""
        chosen = [each for each in self.listed if each.status is Status(status)]
        return "\n".join(f"{each.message} → {each.advice}" for each in chosen)

    @property
    def is_well(self) -> bool:
        """Whether there is no warning and no problem."""
        return not self["warning"] and not self["problem"]

    def of(self, subject: str) -> "Found":
        """Those of one subject."""
        return Found([each for each in self.listed if each.subject == subject])


async def look(check: Look, settings: Settings, *wrong: str, embedded: bool = False) -> Found:
    """What a check finds in a deployment with these settings."""
    findings = Findings("looked at")
    await check(Deployment(settings, frozenset(wrong), embedded=embedded), findings)
    return Found(findings.listed)
