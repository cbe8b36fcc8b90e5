"""Machines that fail at random under clients, and what the clients were told in the end."""

import os
from collections import Counter
from pathlib import Path
from random import SystemRandom

import pytest

from tests.support.storm.checker import violations
from tests.support.storm.machines import machines
from tests.support.storm.run import storm

# To run one again, or a longer one.
SEED = int(os.environ.get("STORM_SEED", SystemRandom().randrange(10**6)))
SECONDS = float(os.environ.get("STORM_SECONDS", 240))


@pytest.mark.proof
@pytest.mark.timeout(SECONDS + 300)
async def test_no_client_is_told_what_is_not_so_in_a_storm(tmp_path: Path) -> None:
    print(f"STORM_SEED={SEED} STORM_SECONDS={SECONDS:.0f}")  # noqa: T201
    async with machines(tmp_path) as made:
        history = await storm(made, SEED, SECONDS)
    counted = Counter((call.action, call.status) for call in history.calls)
    lines = [f"{action} {status or '-'}: {n}" for (action, status), n in sorted(counted.items())]
    print("\n".join([*made.log, *lines]))  # noqa: T201
    found = violations(history.calls, history.state, history.streams)
    assert not found, "\n".join([f"{len(found)} violations, of which", *found[:20]])
