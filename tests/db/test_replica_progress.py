"""How far a standby follows, by the positions that it and its primary name."""

from math import inf
from time import monotonic

import pytest

from service.db.replica.progress import FAILED_FOR, Progress


def followed(*, position: int, replayed: int) -> Progress:
    """The progress of a standby whose primary was asked just now."""
    progress = Progress()
    progress.note_replica(replayed)
    progress.note_primary(progress.question()._replace(replayed=0), position)
    return progress


def test_standby_of_an_idle_primary_has_no_lag() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_primary(progress.question(), 5)
    assert progress.lag < 0.1


def test_standby_that_lost_its_primary_lags_from_the_next_write_on() -> None:
    progress = followed(position=5, replayed=5)
    earlier = progress.question()
    progress.note_primary(progress.question(), 6)
    assert progress.covered <= earlier.asked
    progress.note_replica(6)
    assert progress.covered > earlier.asked


def test_standby_that_has_replayed_nothing_of_the_primary_s_is_infinitely_behind() -> None:
    assert followed(position=5, replayed=4).lag == inf
    assert Progress().lag == inf


def test_standby_ahead_of_the_primary_is_of_another_history_until_it_follows_anew() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_primary(progress.question(), 4)
    progress.note_primary(progress.question(), 9)
    progress.note_replica(9)
    assert progress.lag == inf
    progress.restart()
    progress.note_replica(9)
    progress.note_primary(progress.question(), 9)
    assert progress.lag < 0.1


def test_lag_does_not_grow_while_the_primary_is_away() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_answer(monotonic())
    progress.note_loss()
    assert progress.primary_away
    assert progress.lag == 0


def test_lag_grows_while_a_primary_that_is_not_watched_answers() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_loss()
    progress.note_answer(monotonic())
    progress.note_loss()  # the watcher's next attempt fails, too
    assert not progress.primary_away
    assert 0 < progress.lag < progress.lag


def test_answer_to_what_was_asked_before_the_loss_proves_nothing() -> None:
    progress = followed(position=5, replayed=5)
    asked = monotonic()
    progress.note_loss()
    progress.note_answer(asked)
    assert progress.primary_away


def test_primary_that_is_watched_is_not_away_when_it_fails_a_request() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_failure()
    assert not progress.primary_away


def test_primary_that_is_not_watched_is_away_when_it_fails_a_request_after_an_answer() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_loss()
    progress.note_answer(monotonic())
    progress.note_failure()
    assert progress.primary_away


def test_primary_failed_lately_until_it_answers() -> None:
    progress = followed(position=5, replayed=5)
    seen = [progress.failed_lately]
    for note in (progress.note_failure, lambda: progress.note_answer(monotonic())):
        note()
        seen.append(progress.failed_lately)
    assert seen == [False, True, False]


def test_primary_failed_lately_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = followed(position=5, replayed=5)
    progress.note_failure()
    later = monotonic() + FAILED_FOR
    monkeypatch.setattr("service.db.replica.progress.monotonic", lambda: later)
    assert not progress.failed_lately
