"""Sign-ins at a provider that misbehaves are a burden to nobody else."""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import pytest

from service.auth.external.calls import AT_ONCE
from tests.support.external import Flow
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, ask, service_process
from tests.support.provider import Hook, Provider, drip, flood, gzip_bomb, silence

log = logging.getLogger(__name__)

LOGINS = AT_ONCE + 4
SECONDS = 4.0  # of reading; less than the patience for a provider
ROUNDS_MAX = 3  # while noise decides
ANSWER_MAX = 6.0  # seconds
MEMORY = 15 * 1024 * 1024  # bytes
SLOWER = 1.5
FLOOR = 0.020  # seconds below which p99 is noise
PATHS = ("/health/live", "/api/posts")
DISCOVERY = "/.well-known/openid-configuration"
# Connections of the process that are in use, of which there is none while it waits for a provider.
BUSY = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
)

pytestmark = [pytest.mark.proof, pytest.mark.alone, pytest.mark.timeout(300)]


@pytest.fixture
async def service(
    database_url: str, tmp_path: Path, provider: Provider
) -> AsyncIterator[ServiceProcess]:
    """A process whose pool is smaller than the number of sign-ins under way."""
    settings = {f"external_acme_{name}": value for name, value in provider.settings().items()}
    async with service_process(
        database_url, tmp_path, database_pool_size=2, cors_origins="http://app.test", **settings
    ) as one:
        yield one


@dataclass
class Answers:
    """What sign-ins were answered: seconds of each, and how often each status."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


async def obtain_code(port: int, provider: Provider, number: int) -> dict[str, str]:
    """Sign a person in at the provider; returns what is exchanged for a session."""
    flow = Flow()
    body = {"return_to": flow.return_to, "code_challenge": flow.challenge}
    begun = await ask(port, "POST", "/auth/external/acme", body)
    assert begun.status == 200, begun.body
    carried = provider.consent(
        begun.json["authorization_url"],
        sub=f"p{number}",
        email=f"p{number}@example.com",
        email_verified=True,
    )
    back = await ask(port, "GET", f"/auth/external/acme/callback?{urlencode(carried)}")
    (code,) = parse_qs(urlsplit(back.headers["location"]).query)["code"]
    return {"code": code, "code_verifier": flow.verifier}


async def redeem(port: int, code: dict[str, str], answers: Answers) -> None:
    start = time.monotonic()
    answer = await ask(port, "POST", "/auth/login/external", code)
    answers.times.append(time.monotonic() - start)
    answers.statuses[answer.status] += 1


async def keep_redeeming(
    port: int, code: dict[str, str], answers: Answers, stop: asyncio.Event, delay: float
) -> None:
    """Exchange a code again and again, as an answer of 503 allows, once a second at most."""
    # Not all in the same moment: a burst of any requests keeps others waiting.
    await asyncio.sleep(delay)
    while not stop.is_set():
        pause = asyncio.create_task(asyncio.sleep(1))
        await redeem(port, code, answers)
        await pause


async def read(port: int) -> dict[str, float]:
    """Read each path in turn for a while; returns the p99 of each, in seconds."""
    times: dict[str, list[float]] = {path: [] for path in PATHS}
    deadline = time.monotonic() + SECONDS
    async with Connection(port) as connection:
        while time.monotonic() < deadline:
            for path, taken in times.items():
                start = time.monotonic()
                assert (await connection.request("GET", path)).status == 200
                taken.append(time.monotonic() - start)
    return {path: quantiles(taken, n=100)[-1] for path, taken in times.items()}


def peak(service: ServiceProcess) -> int:
    """The most memory that it has held since `forget_peak`, in bytes."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(line)


def forget_peak(service: ServiceProcess) -> None:
    """Count the most memory from now on (proc_pid_clear_refs(5))."""
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize(
    "hook", [silence, drip, flood, gzip_bomb()], ids=["silence", "drip", "flood", "gzip bomb"]
)
async def test_provider_that_misbehaves_costs_others_nothing(
    service: ServiceProcess, provider: Provider, hook: Hook
) -> None:
    port, answers = service.port, Answers()
    # The first one of all loads the client.
    await redeem(port, await obtain_code(port, provider, 0), answers)
    assert answers.statuses == {200: 1}
    await read(port)
    forget_peak(service)
    before = service.resident()
    answers = Answers()
    for _ in range(ROUNDS_MAX):
        quiet = await read(port)
        codes = [await obtain_code(port, provider, number) for number in range(LOGINS)]
        provider.hooks["/token"] = hook
        stop = asyncio.Event()
        logins = [
            asyncio.create_task(keep_redeeming(port, code, answers, stop, number / LOGINS))
            for number, code in enumerate(codes)
        ]
        beside = await read(port)
        stop.set()
        await asyncio.gather(*logins)
        del provider.hooks["/token"]
        slower = {path: p99 / max(quiet[path], FLOOR / SLOWER) for path, p99 in beside.items()}
        log.info("p99 in s: quiet %s, beside sign-ins %s", quiet, beside)
        if max(slower.values()) < SLOWER:
            break
    grown = peak(service) - before
    log.info("answers %s within %.2f s; memory grew by %d at most", answers.statuses,
             max(answers.times), grown)  # fmt: skip
    assert answers.statuses.keys() == {503}
    assert max(answers.times) < ANSWER_MAX
    assert max(slower.values()) < SLOWER
    assert grown < MEMORY
    # It is as good as before, and so are the codes.
    again = Answers()
    for code in codes:
        await redeem(port, code, again)
    assert again.statuses == {200: LOGINS}


@pytest.mark.parametrize("hook", [flood, gzip_bomb()], ids=["flood", "gzip bomb"])
async def test_long_answers_to_many_at_once_take_little_memory(
    service: ServiceProcess, provider: Provider, hook: Hook
) -> None:
    port, answers = service.port, Answers()
    await redeem(port, await obtain_code(port, provider, 0), answers)
    codes = [await obtain_code(port, provider, number) for number in range(LOGINS)]
    forget_peak(service)
    before = service.resident()
    answers = Answers()
    provider.hooks["/token"] = hook
    for _ in range(5):
        await asyncio.gather(*(redeem(port, code, answers) for code in codes))
    grown = peak(service) - before
    log.info("within %.2f s; memory grew by %d at most", max(answers.times), grown)
    assert answers.statuses.keys() == {503}
    assert max(answers.times) < ANSWER_MAX
    assert grown < MEMORY


@pytest.mark.parametrize("hook", [silence, drip], ids=["silence", "drip"])
async def test_sign_ins_that_wait_for_the_provider_hold_no_database_connection(
    service: ServiceProcess, provider: Provider, db: asyncpg.Connection, hook: Hook
) -> None:
    port, answers = service.port, Answers()
    codes = [await obtain_code(port, provider, number) for number in range(LOGINS)]
    provider.hooks["/token"] = hook
    logins = [asyncio.create_task(redeem(port, code, answers)) for code in codes]

    async def all_wait() -> bool:
        return provider.open == AT_ONCE and len(answers.times) == LOGINS - AT_ONCE

    await until(all_wait)
    assert await db.fetchval(BUSY) == 0
    # More at once than the pool has connections: none of them is taken.
    posts = await asyncio.gather(*(ask(port, "GET", "/api/posts") for _ in range(10)))
    assert {answer.status for answer in posts} == {200}
    assert provider.open == AT_ONCE
    await asyncio.gather(*logins)
    assert answers.statuses == {503: LOGINS}
    assert max(answers.times) < ANSWER_MAX


@pytest.mark.parametrize("hook", [silence, flood], ids=["silence", "flood"])
async def test_sign_ins_that_begin_are_answered_while_the_metadata_cannot_be_had(
    service: ServiceProcess, provider: Provider, hook: Hook
) -> None:
    provider.hooks[DISCOVERY] = hook
    flow = Flow()
    body = {"return_to": flow.return_to, "code_challenge": flow.challenge}
    start = time.monotonic()
    begun = await asyncio.gather(
        *(ask(service.port, "POST", "/auth/external/acme", body) for _ in range(LOGINS))
    )
    assert time.monotonic() - start < ANSWER_MAX
    assert {answer.status for answer in begun} == {503}
    assert provider.asked(DISCOVERY) == 1


async def test_provider_that_lies_is_refused_to_all_at_once(
    service: ServiceProcess, provider: Provider
) -> None:
    port, answers = service.port, Answers()
    codes = [await obtain_code(port, provider, number) for number in range(AT_ONCE)]
    provider.claims = {"aud": "somebody else"}
    await asyncio.gather(*(redeem(port, code, answers) for code in codes))
    assert answers.statuses == {401: AT_ONCE}
    assert max(answers.times) < ANSWER_MAX
