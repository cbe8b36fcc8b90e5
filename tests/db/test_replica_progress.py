"""How far a standby follows, by the positions that it and its primary name."""

from math import inf

from service.db.replica.progress import Progress


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
    progress.primary_away = True
    assert progress.lag == 0
