"""Where a request came from, as features and the web both know it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Origin:
    """The client's address, and what it calls itself (bounded)."""

    ip: str | None
    user_agent: str | None


# What the service does by itself, or on its own machine's command line.
INTERNAL: Final = Origin(ip=None, user_agent=None)
