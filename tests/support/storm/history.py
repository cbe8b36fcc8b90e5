"""What clients asked for and were answered, and what the database holds in the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

NO_ANSWER: Final = 0


class Outcome(Enum):
    """What a client knows of a call."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Call:
    """One request: when it was sent and answered, and with what.

    `mark` names what only this call writes: a title, or an address. `subject` is what it is about:
    a post, a login session, or the refresh token shown.
    """

    action: str
    began: float
    ended: float
    status: int = NO_ANSWER
    mark: str = ""
    subject: str = ""
    key: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def outcome(self) -> Outcome:
        """Done, refused as not done, or unknown: no answer, or one that leaves it open."""
        if 200 <= self.status < 300:
            return Outcome.DONE
        return Outcome.REFUSED if 400 <= self.status < 500 else Outcome.UNKNOWN


@dataclass(frozen=True)
class Event:
    """An event of a post, as a stream sent it or as the table has it; a reset has no post."""

    id: str
    kind: str
    post_id: str = ""
    version: int = 0
    title: str = ""

    @property
    def position(self) -> tuple[int, ...]:
        """The place in the order of events."""
        return tuple(map(int, self.id.split("-")))


@dataclass(frozen=True)
class Post:
    """A post's row."""

    version: int
    title: str
    deleted: bool


@dataclass(frozen=True)
class State:
    """The database in the end, the events in their order, and the addresses of all mails."""

    posts: Mapping[str, Post] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    accounts: frozenset[str] = frozenset()
    # The ids of login sessions that have not ended.
    sessions: frozenset[str] = frozenset()
    # The number of visible posts by the counters, and by the list.
    counted: int = 0
    listed: int = 0
    mailed: frozenset[str] = frozenset()
