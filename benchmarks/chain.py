"""Requests of which each is made from the answer to the one before."""

from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """An answer; the names of its headers are in lower case."""

    headers: dict[bytes, bytes]
    body: bytes


class Chain:
    """The requests of one client, which sends one at a time."""

    def __init__(self, requests: Generator[bytes, Answer, None]) -> None:
        self.requests = requests
        self.request = next(requests)

    def answered(self, answer: Answer) -> None:
        """Make the next request."""
        self.request = self.requests.send(answer)
