"""Clusters for one test, and one for those that do not harm it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import embedded_postgres
from service.embedded_postgres import EmbeddedPostgres
from tests.support.embedded import Owner, folder


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with folder(0o711) as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedPostgres]:
    """A server for tests that neither stop nor harm it."""
    with folder(0o711) as made, embedded_postgres.start(made, durable=False) as server:
        yield server


@pytest.fixture
def owner(data_dir: Path) -> Iterator[Callable[[], Owner]]:
    owners: list[Owner] = []

    def make() -> Owner:
        owners.append(Owner(data_dir))
        return owners[-1]

    yield make
    for each in owners:
        each.kill_group()
        each.process.wait()
        for pipe in (each.process.stdin, each.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
