"""Findings: what a check saw, whether it is well, and what an operator does about it."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum

from service.settings import Settings


class Status(StrEnum):
    """What a finding means; advice beside `ok` is a hint."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    status: Status
    message: str
    advice: str = ""


def say_wrong(names: AbstractSet[str]) -> str:
    """Return the words that settings are wrong."""
    return f"{' and '.join(sorted(names))} {'is' if len(names) == 1 else 'are'} wrong"


@dataclass(frozen=True)
class Deployment:
    """What is looked at: the settings, which of them are wrong, and whether PostgreSQL is ours.

    A wrong setting has its default in `settings`, so that the rest can be looked at.
    """

    settings: Settings
    wrong: frozenset[str] = frozenset()
    embedded: bool = False


@dataclass
class Findings:
    """The findings of a check, in the order in which they were made."""

    subject: str
    listed: list[Finding] = field(default_factory=list)

    def about(self, subject: str) -> "Findings":
        """Return what adds findings about another subject to the same list."""
        return Findings(subject, self.listed)

    def ok(self, message: str, advice: str = "") -> None:
        """Add what is well."""
        self._add(Status.OK, message, advice)

    def warning(self, message: str, advice: str) -> None:
        """Add what works and should be different."""
        self._add(Status.WARNING, message, advice)

    def problem(self, message: str, advice: str = "") -> None:
        """Add what must be mended."""
        self._add(Status.PROBLEM, message, advice)

    def skipped(self, message: str) -> None:
        """Add what was not looked at, and why."""
        self._add(Status.SKIPPED, message, "")

    def _add(self, status: Status, message: str, advice: str) -> None:
        self.listed.append(Finding(self.subject, status, message, advice))
