"""Rules that hold for every history, whatever went wrong meanwhile."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from tests.support.storm.history import Call, Event, Outcome, State

Streams: TypeAlias = Sequence[Sequence[Event]]
Rule: TypeAlias = Callable[[Sequence[Call], State, Streams], Iterable[str]]

# Seconds in which a spent refresh token is still taken, less than the service's own by what a clock
# of a storm may be wrong.
GRACE: Final = 8
WRITES: Final = ("create", "edit")


def violations(calls: Sequence[Call], state: State, streams: Streams = ()) -> list[str]:
    """Return what is wrong with a history, each with the rule that it breaks."""
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(calls, state, streams)]


def no_call_fails_unexpectedly(
    calls: Sequence[Call], _state: State, _streams: Streams
) -> Iterator[str]:
    """What a fault causes is a 503, or no answer: never a 500."""
    for call in calls:
        if call.status == 500:
            yield f"{call} failed"


def acknowledged_write_exists(
    calls: Sequence[Call], state: State, _streams: Streams
) -> Iterator[str]:
    """Every post, change, account and session of an acknowledged call is there."""
    written = {(event.post_id, event.version, event.title) for event in state.events}
    for call in calls:
        if call.outcome is not Outcome.DONE:
            continue
        if call.action in WRITES:
            version = (call.answer["id"], call.answer["version"], call.answer["title"])
            if version not in written or version[0] not in state.posts:
                yield f"{call} is lost"
        elif call.action == "register" and call.mark not in state.accounts:
            yield f"{call} is lost"


def acknowledged_deletions_happened(
    calls: Sequence[Call], state: State, _streams: Streams
) -> Iterator[str]:
    """A post was deleted as often as acknowledged, and is as its last event says."""
    deletions: dict[str, int] = defaultdict(int)
    last: dict[str, str] = {}
    for event in state.events:
        deletions[event.post_id] += event.kind == "post.deleted"
        last[event.post_id] = event.kind
    for post_id, done in _grouped(calls, "delete", lambda call: call.subject).items():
        acknowledged = sum(call.outcome is Outcome.DONE for call in done)
        if not acknowledged <= deletions[post_id] <= _possible(done):
            yield f"{post_id} was deleted {deletions[post_id]} times, {acknowledged} acknowledged"
    for post_id, post in state.posts.items():
        if post.deleted is not (last.get(post_id) == "post.deleted"):
            yield f"{post_id}: deleted is {post.deleted}, its last event {last.get(post_id)}"


def refused_write_does_not_exist(
    calls: Sequence[Call], state: State, _streams: Streams
) -> Iterator[str]:
    """What was refused each time it was asked for is nowhere."""
    titles = {event.title for event in state.events} | {p.title for p in state.posts.values()}
    for action, existing in (("create", titles), ("edit", titles), ("register", state.accounts)):
        for mark, asked in _grouped(calls, action, lambda call: call.mark).items():
            refused = all(call.outcome is Outcome.REFUSED for call in asked)
            if refused and mark in existing:
                yield f"{mark} exists, and was refused: {asked[0]}"


def post_is_created_once(calls: Sequence[Call], state: State, _streams: Streams) -> Iterator[str]:
    """A call without a key, or all calls with one, make one post, and are answered with it."""
    created: dict[str, set[str]] = defaultdict(set)
    for event in state.events:
        if event.kind == "post.created":
            created[event.title].add(event.post_id)
    for mark, asked in _grouped(calls, "create", lambda call: call.mark).items():
        answered = {call.answer["id"] for call in asked if call.outcome is Outcome.DONE}
        if len(created[mark] | answered) > 1:
            yield f"{mark} made {created[mark]}, answered {answered}"


def versions_are_a_chain(_calls: Sequence[Call], state: State, _streams: Streams) -> Iterator[str]:
    """The versions of a post follow each other by one, from 1 to that of its row."""
    versions: dict[str, list[int]] = defaultdict(list)
    for event in state.events:
        if event.kind in ("post.created", "post.updated"):
            versions[event.post_id].append(event.version)
    for post_id, post in state.posts.items():
        if versions[post_id] != list(range(1, post.version + 1)):
            yield f"{post_id} at {post.version} has the versions {versions[post_id]}"


def update_is_not_lost(calls: Sequence[Call], _state: State, _streams: Streams) -> Iterator[str]:
    """No two acknowledged changes made the same version of a post."""
    made: dict[tuple[str, int], str] = {}
    for call in calls:
        if call.action == "edit" and call.outcome is Outcome.DONE:
            version = (call.answer["id"], call.answer["version"])
            if made.setdefault(version, call.mark) != call.mark:
                yield f"{made[version]} and {call.mark} are both version {version}"


def refresh_token_has_one_successor(
    calls: Sequence[Call], _state: State, _streams: Streams
) -> Iterator[str]:
    """All answers to one refresh token have the same new one, so that one alone is live."""
    for token, asked in _grouped(calls, "refresh", lambda call: call.subject).items():
        following = {call.answer["refresh_token"] for call in asked if call.outcome is Outcome.DONE}
        if len(following) > 1:
            yield f"{token} was exchanged for {following}"


def refresh_is_refused_for_a_reason(
    calls: Sequence[Call], _state: State, _streams: Streams
) -> Iterator[str]:
    """The first refusal of a session's refresh token comes after its end, or after the grace."""
    ended = {call.subject for call in calls if call.action == "revoke"}
    for session, asked in _grouped(calls, "refresh", lambda call: call.key).items():
        refused = min(
            (call for call in asked if call.outcome is Outcome.REFUSED),
            key=lambda call: call.began,
            default=None,
        )
        if refused is None or session in ended:
            continue
        sent = min(call.began for call in asked if call.subject == refused.subject)
        if refused.ended - sent < GRACE:
            yield f"{refused} was refused {refused.ended - sent:.1f} s after its token was sent"


def revoked_session_does_not_work(
    calls: Sequence[Call], state: State, _streams: Streams
) -> Iterator[str]:
    """No token of a session is taken once its end is acknowledged."""
    revoked: dict[str, float] = {}
    for call in calls:
        if call.action == "revoke" and call.outcome is Outcome.DONE:
            revoked[call.subject] = min(call.ended, revoked.get(call.subject, call.ended))
    for session in revoked.keys() & state.sessions:
        yield f"{session} is live, and was revoked"
    for call in calls:
        since = revoked.get(call.key if call.action == "refresh" else call.subject)
        used = call.action in ("use", "refresh") and call.outcome is Outcome.DONE
        if since is not None and used and call.began > since:
            yield f"{call} worked, and its session was revoked at {since}"


def opened_session_stays(calls: Sequence[Call], state: State, _streams: Streams) -> Iterator[str]:
    """A session whose opening was acknowledged is live, unless its end was asked for.

    A spent refresh token ends it, too (see refresh_is_refused_for_a_reason).
    """
    ended = {call.subject for call in calls if call.action == "revoke"}
    ended |= {call.key for call in calls if call.action == "refresh" and call.status == 401}
    for call in calls:
        if call.action == "login" and call.outcome is Outcome.DONE:
            session = call.answer["session_id"]
            if session not in ended | state.sessions:
                yield f"{call} is lost"


def stream_has_every_event_once(
    _calls: Sequence[Call], state: State, streams: Streams
) -> Iterator[str]:
    """Between resets a stream has what the table has, in its order, without gap or repeat.

    A reset is right only after an event that the table no longer has.
    """
    place = {event.id: number for number, event in enumerate(state.events)}
    for number, seen in enumerate(streams):
        for found in _faults_of_stream(seen, place):
            yield f"stream {number}: {found}"


def _faults_of_stream(seen: Iterable[Event], place: Mapping[str, int]) -> Iterator[str]:
    lost: Event | None = None
    last: Event | None = None
    for event in seen:
        if event.kind == "reset":
            if lost is None:
                yield f"reset after {last}, although nothing was lost"
            lost = last = None
        elif event.id not in place:
            lost = event
        elif lost is not None:
            yield f"{event} after {lost}, which is lost, without a reset"
            lost, last = None, event
        else:
            if last is not None and place[event.id] != place[last.id] + 1:
                yield f"{event} after {last}"
            last = event
    if lost is not None:
        yield f"{lost} is lost, without a reset"


def stream_arrives_at_the_end(
    _calls: Sequence[Call], state: State, streams: Streams
) -> Iterator[str]:
    """The last event reaches every stream."""
    for number, seen in enumerate(streams):
        if state.events and (not seen or seen[-1].id != state.events[-1].id):
            yield f"stream {number} ends at {seen[-1:]}, the table at {state.events[-1]}"


def counters_are_exact(_calls: Sequence[Call], state: State, _streams: Streams) -> Iterator[str]:
    """The counters say how many posts are visible."""
    visible = sum(not post.deleted for post in state.posts.values())
    if not visible == state.counted == state.listed:
        yield f"{visible} posts, {state.counted} counted, {state.listed} listed"


def mail_arrives(calls: Sequence[Call], state: State, _streams: Streams) -> Iterator[str]:
    """Every account that was made has its mail."""
    for call in calls:
        done = call.action == "register" and call.outcome is Outcome.DONE
        if done and call.mark not in state.mailed:
            yield f"{call} has no mail"


RULES: Final[tuple[Rule, ...]] = (
    no_call_fails_unexpectedly,
    acknowledged_write_exists,
    acknowledged_deletions_happened,
    refused_write_does_not_exist,
    post_is_created_once,
    versions_are_a_chain,
    update_is_not_lost,
    refresh_token_has_one_successor,
    refresh_is_refused_for_a_reason,
    revoked_session_does_not_work,
    opened_session_stays,
    stream_has_every_event_once,
    stream_arrives_at_the_end,
    counters_are_exact,
    mail_arrives,
)


def _grouped(
    calls: Iterable[Call], action: str, key: Callable[[Call], str]
) -> Mapping[str, list[Call]]:
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.action == action:
            groups[key(call)].append(call)
    return groups


def _possible(calls: Iterable[Call]) -> int:
    return sum(call.outcome is not Outcome.REFUSED for call in calls)
