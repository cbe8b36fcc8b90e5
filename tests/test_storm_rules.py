"""The rules of the storm's checker: each holds for a good history, and is seen to be broken."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.storm.checker import RULES, Streams, violations
from tests.support.storm.history import NO_ANSWER, Call, Event, Post, State

CREATED = Event("7-1", "post.created", "a", 1, "first")
UPDATED = Event("8-2", "post.updated", "a", 2, "second")
DELETED = Event("9-3", "post.deleted", "a")
RESTORED = Event("9-4", "post.restored", "a", 2, "second")
LOST = Event("9-9", "post.created", "z", 1, "lost")
RESET = Event("9-9", "reset")

EVENTS = (CREATED, UPDATED, DELETED, RESTORED)
STATE = State(
    posts={"a": Post(2, "second", deleted=False)},
    events=EVENTS,
    accounts=frozenset({"ada@example.com"}),
    sessions=frozenset({"open"}),
    counted=1,
    listed=1,
    mailed=frozenset({"ada@example.com"}),
)
CREATE = Call(
    "create", 0, 1, 201, mark="first", key="k", answer={"id": "a", "version": 1, "title": "first"}
)
EDIT = Call("edit", 1, 2, 200, mark="second", subject="a", answer={**CREATE.answer, "version": 2})
EDIT = replace(EDIT, answer={**EDIT.answer, "title": "second"})
DELETE = Call("delete", 2, 3, 204, subject="a")
REGISTER = Call("register", 0, 1, 201, mark="ada@example.com")
LOGIN = Call("login", 1, 2, 200, answer={"session_id": "open"})
REFRESH = Call("refresh", 2, 3, 200, subject="t1", key="open", answer={"refresh_token": "t2"})
REVOKE = Call("revoke", 5, 6, 204, subject="ended")
USE = Call("use", 3, 4, 200, subject="ended")
CALLS = [CREATE, EDIT, DELETE, REGISTER, LOGIN, REFRESH, REVOKE, USE]

GOOD: dict[str, tuple[Sequence[Call], State, Streams]] = {
    "all is well": (CALLS, STATE, [EVENTS]),
    "a call without an answer may have been done": (
        [replace(each, status=NO_ANSWER, answer={}) for each in CALLS],
        STATE,
        [],
    ),
    "a call without an answer may not have been done": (
        [Call("create", 0, 1, 503, mark="new"), Call("register", 0, 1, mark="new@example.com")],
        STATE,
        [],
    ),
    "a call that was refused once was done by another": (
        [replace(CREATE, status=409, answer={}), CREATE],
        STATE,
        [],
    ),
    "a call that began before the end of its session worked": (
        [REVOKE, replace(USE, began=5.5, ended=7)],
        STATE,
        [],
    ),
    "a refresh token is refused after the grace, and its session is over": (
        [LOGIN, replace(REFRESH, began=40, ended=41, status=401), REFRESH],
        replace(STATE, sessions=frozenset()),
        [],
    ),
    "a stream begins late": ([], STATE, [EVENTS[2:]]),
    "a stream is reset after an event that is lost": (
        [],
        STATE,
        [[CREATED, LOST, RESET, DELETED, RESTORED]],
    ),
}

BAD: dict[str, list[tuple[Sequence[Call], State, Streams]]] = {
    "no_call_fails_unexpectedly": [([replace(CREATE, status=500)], STATE, [])],
    "acknowledged_write_exists": [
        ([CREATE], replace(STATE, posts={}, counted=0, listed=0), []),
        ([replace(EDIT, answer={**EDIT.answer, "title": "other"})], STATE, []),
        ([replace(EDIT, answer={**EDIT.answer, "version": 3})], STATE, []),
        ([REGISTER], replace(STATE, accounts=frozenset()), []),
    ],
    "acknowledged_deletions_happened": [
        ([DELETE, DELETE], STATE, []),
        ([replace(DELETE, status=412)], STATE, []),
        ([], replace(STATE, posts={"a": Post(2, "second", deleted=True)}), []),
        ([], replace(STATE, events=EVENTS[:3]), []),
    ],
    "refused_write_does_not_exist": [
        ([replace(CREATE, status=409)], STATE, []),
        ([replace(EDIT, status=412)], STATE, []),
        ([replace(REGISTER, status=400)], STATE, []),
    ],
    "post_is_created_once": [
        ([replace(CREATE, answer={**CREATE.answer, "id": "b"}), CREATE], STATE, []),
        ([CREATE], replace(STATE, events=(CREATED, replace(CREATED, post_id="b"))), []),
    ],
    "versions_are_a_chain": [
        ([], replace(STATE, events=(CREATED, replace(UPDATED, version=3))), []),
        ([], replace(STATE, events=(CREATED, UPDATED, UPDATED)), []),
        ([], replace(STATE, events=(CREATED,)), []),
    ],
    "update_is_not_lost": [([EDIT, replace(EDIT, mark="other")], STATE, [])],
    "refresh_token_has_one_successor": [
        ([REFRESH, replace(REFRESH, answer={"refresh_token": "t3"})], STATE, [])
    ],
    "refresh_is_refused_for_a_reason": [([REFRESH, replace(REFRESH, status=401)], STATE, [])],
    "revoked_session_does_not_work": [
        ([REVOKE], replace(STATE, sessions=frozenset({"ended"})), []),
        ([REVOKE, replace(USE, began=7, ended=8)], STATE, []),
        ([REVOKE, replace(REFRESH, key="ended", began=7, ended=8)], STATE, []),
    ],
    "opened_session_stays": [([LOGIN], replace(STATE, sessions=frozenset()), [])],
    "stream_has_every_event_once": [
        ([], STATE, [[CREATED, DELETED]]),
        ([], STATE, [[CREATED, CREATED]]),
        ([], STATE, [[UPDATED, CREATED]]),
        ([], STATE, [[CREATED, RESET, UPDATED]]),
        ([], STATE, [[CREATED, LOST, UPDATED]]),
        ([], STATE, [[CREATED, LOST]]),
    ],
    "stream_arrives_at_the_end": [([], STATE, [EVENTS[:3]]), ([], STATE, [[]])],
    "counters_are_exact": [([], replace(STATE, counted=2), []), ([], replace(STATE, listed=0), [])],
    "mail_arrives": [([REGISTER], replace(STATE, mailed=frozenset()), [])],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_good_history_breaks_no_rule(history: tuple[Sequence[Call], State, Streams]) -> None:
    assert violations(*history) == []


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_each_bad_history_breaks_its_rule(rule: str) -> None:
    for history in BAD[rule]:
        assert rule in {found.partition(":")[0] for found in violations(*history)}, history
