"""The keys of access tokens are changed while processes run, and no token is refused meanwhile."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from service.app import create_app
from service.auth import key_ring, keys
from service.auth.tokens import Claims, InvalidToken, Tokens, TokenType
from service.ids import new_id
from service.observability.metrics import QUERY_INTERVAL
from service.settings import Settings, SettingsError
from service.testing.application import make_settings, running
from tests.support.client import Client
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, ask, service_process
from tests.support.scrape import scrape

ACCESS = TokenType.ACCESS


def write_key(folder: Path, kid: str) -> None:
    """Write a new private key as PEM, completely or not at all."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder.mkdir(exist_ok=True)
    (folder / "new").write_bytes(pem)
    (folder / "new").rename(folder / f"{kid}.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the keys `a` and `b`."""
    made = tmp_path / "keys"
    for kid in ("a", "b"):
        write_key(made, kid)
    return made


def tokens_of(folder: Path, signing: str | None = None) -> Tokens:
    return Tokens(make_settings(jwt_keys_dir=folder, jwt_signing_key=signing))


def issue(tokens: Tokens) -> str:
    return tokens.issue(ACCESS, new_id(), new_id())


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


@pytest.mark.parametrize(("named", "signing"), [(None, "b"), ("a", "a"), ("b", "b")])
def test_setting_names_the_key_that_signs_else_the_last_does(
    folder: Path, named: str | None, signing: str
) -> None:
    tokens = tokens_of(folder, named)
    assert kid_of(issue(tokens)) == signing
    for other in (None, "a", "b"):
        assert isinstance(tokens.verify(ACCESS, issue(tokens_of(folder, other))), Claims)


@pytest.mark.parametrize("named", ["c", "b.pem", "../keys/b", "B"])
def test_signing_key_that_is_not_in_the_folder_is_refused_by_name(folder: Path, named: str) -> None:
    with pytest.raises(SettingsError, match=r"^JWT_SIGNING_KEY: .*: a, b$"):
        tokens_of(folder, named)


def test_signing_key_without_a_folder_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"^JWT_SIGNING_KEY: .* JWT_KEYS_DIR"):
        Tokens(make_settings(jwt_signing_key="a"))


@pytest.mark.parametrize("named", [None, "a"])
def test_token_of_a_key_that_is_new_in_the_folder_is_valid_at_once(
    folder: Path, named: str | None
) -> None:
    running = tokens_of(folder, named)
    write_key(folder, "c")
    assert isinstance(running.verify(ACCESS, issue(tokens_of(folder, "c"))), Claims)
    assert kid_of(issue(running)) == (named or "c")


def test_folder_is_not_read_for_each_token_of_an_unknown_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def load_keys(settings: Settings) -> keys.KeySet:
        nonlocal read
        read += 1
        return keys.load_keys(settings)

    monkeypatch.setattr(key_ring, "load_keys", load_keys)
    running = tokens_of(folder)
    write_key(tmp_path / "foreign", "c")
    forged = issue(Tokens(make_settings(jwt_keys_dir=tmp_path / "foreign")))
    for _ in range(100):
        with pytest.raises(InvalidToken):
            running.verify(ACCESS, forged)
    assert read <= 3  # one of them is the forger's own


def test_removed_key_verifies_nothing_more_after_the_next_read(folder: Path) -> None:
    running = tokens_of(folder, "b")
    old = issue(tokens_of(folder, "a"))
    assert isinstance(running.verify(ACCESS, old), Claims)  # and is remembered
    (folder / "a.pem").unlink()
    running.keys.reload()
    with pytest.raises(InvalidToken):
        running.verify(ACCESS, old)
    assert isinstance(running.verify(ACCESS, issue(running)), Claims)


def test_key_replaced_under_its_name_takes_the_old_one_s_place(folder: Path) -> None:
    running = tokens_of(folder)
    old = issue(running)
    assert isinstance(running.verify(ACCESS, old), Claims)
    write_key(folder, "b")
    running.keys.reload()
    with pytest.raises(InvalidToken):
        running.verify(ACCESS, old)
    assert isinstance(tokens_of(folder).verify(ACCESS, issue(running)), Claims)


def unlink(folder: Path, *kids: str) -> None:
    for kid in kids:
        (folder / f"{kid}.pem").unlink()


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "half-written": lambda folder: (folder / "c.pem").write_text("-----BEGIN PRIVATE"),
    "empty": lambda folder: unlink(folder, "a", "b"),
    "signing key gone": lambda folder: unlink(folder, "a"),
    "gone": shutil.rmtree,
}


@pytest.mark.parametrize("spoil", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_folder_is_logged_and_the_keys_in_use_stay(
    folder: Path, spoil: Callable[[Path], object]
) -> None:
    running = tokens_of(folder, "a")
    token = issue(running)
    spoil(folder)
    with capture_logs() as lines:
        running.keys.reload()
    assert [line["log_level"] for line in lines] == ["error"]
    assert "JWT_" in lines[0]["reason"]
    assert kid_of(issue(running)) == "a"
    assert isinstance(running.verify(ACCESS, token), Claims)


def test_read_that_finds_other_keys_is_logged_once(folder: Path) -> None:
    running = tokens_of(folder)
    write_key(folder, "c")
    with capture_logs() as lines:
        running.keys.reload()
        running.keys.reload()
    assert [line["signing"] for line in lines] == ["c"]
    assert lines[0]["verifying"] == ["a", "b", "c"]


async def test_running_application_follows_the_folder(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "RELOAD_INTERVAL", 0.01)
    changes = {"jwt_keys_dir": folder, "jwt_signing_key": "b"}
    app = create_app(settings.model_copy(update=changes))
    client = Client(app)

    async def published() -> bool:
        answer = await client.get("/.well-known/jwks.json")
        return [key["kid"] for key in answer.json["keys"]] == ["b", "c"]

    async with app.test_app():
        write_key(folder, "c")
        (folder / "a.pem").unlink()
        await until(published)
        ada = await client.sign_up()
        assert ada.token
        assert kid_of(ada.token) == "b"
        assert (await ada.get("/auth/me")).status == 200


class UnderHypercorn(ServiceProcess):
    """The application under the command `hypercorn`."""

    def command(self, config: Path) -> list[str]:
        """Hypercorn's own command in place of `service serve`."""
        return [sys.executable, "-m", "hypercorn", "--config", str(config), "service.asgi:app"]


async def log_in(process: ServiceProcess) -> str:
    async with Connection(process.port) as connection:
        await connection.sign_up(f"user-{new_id()}")
        return connection.token


async def statuses(processes: list[ServiceProcess], tokens: list[str]) -> set[int]:
    """How the processes answer to the tokens."""
    found = set()
    for process in processes:
        async with Connection(process.port) as connection:
            for connection.token in tokens:
                found.add((await connection.request("GET", "/auth/me")).status)
    return found


async def read_anew(process: ServiceProcess, *kids: str) -> None:
    """Send SIGHUP, and wait until the process publishes these keys."""

    async def publishes() -> bool:
        answer = await ask(process.port, "GET", "/.well-known/jwks.json")
        return [key["kid"] for key in answer.json["keys"]] == list(kids)

    process.process.send_signal(signal.SIGHUP)
    await until(publishes)


@pytest.mark.proof
async def test_keys_are_rotated_in_two_processes_without_a_401(
    folder: Path, database_url: str, tmp_path: Path
) -> None:
    processes, tokens = [], []
    for name, kind in (("one", ServiceProcess), ("two", UnderHypercorn)):
        own = tmp_path / name / "keys"
        own.mkdir(parents=True)
        shutil.copy(folder / "a.pem", own)
        settings = {"jwt_keys_dir": own, "jwt_signing_key": "a"}
        processes.append(kind(database_url, own.parent, settings=settings))

    async def signed_by() -> list[str]:
        """Log in at both, assert that both take every token, and return which keys signed."""
        new = [await log_in(process) for process in processes]
        tokens.extend(new)
        assert await statuses(processes, tokens) == {200}
        return [kid_of(token) for token in new]

    try:
        for process in processes:
            await process.start()
        assert await signed_by() == ["a", "a"]
        for process in processes:
            shutil.copy(folder / "b.pem", process.folder / "keys")
            await read_anew(process, "a", "b")
            assert await signed_by() == ["a", "a"]
        for process, signing in zip(processes, (["b", "a"], ["b", "b"]), strict=True):
            process.settings["jwt_signing_key"] = "b"
            process.terminate()
            await process.ended()
            await process.start()
            assert await signed_by() == signing
        for process in processes:
            (process.folder / "keys" / "a.pem").unlink()
            await read_anew(process, "b")
        assert await statuses(processes, [one for one in tokens if kid_of(one) == "a"]) == {401}
        assert await statuses(processes, [one for one in tokens if kid_of(one) == "b"]) == {200}
    finally:
        for process in processes:
            await process.kill()


@pytest.mark.proof
async def test_process_without_keys_goes_on_after_sighup(database_url: str, tmp_path: Path) -> None:
    async with service_process(database_url, tmp_path) as process:
        process.process.send_signal(signal.SIGHUP)
        for _ in range(3):
            assert await process.answers("/health/ready")


async def test_ages_of_the_signing_keys_are_measured_also_after_a_change_of_the_folder(
    database_url: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("service.observability.metrics.monotonic", lambda: now)
    age_file(folder / "a.pem", 86_400)
    settings = make_settings(database_url=database_url, data_dir=tmp_path, jwt_keys_dir=folder)
    async with running(settings) as app:
        before = await scrape(Client(app))
        write_key(folder, "c")
        age_file(folder / "c.pem", 3_600)
        (folder / "b.pem").unlink()
        app.component(Tokens).keys.reload()
        now += QUERY_INTERVAL
        after = await scrape(Client(app))
    assert before.labels("kid") == {"a", "b"}
    assert 86_400 <= before.value("signing_key_age_seconds", kid="a") < 86_500
    assert before.value("signing_key_age_seconds", kid="b") < 100
    assert after.labels("kid") == {"a", "c"}
    assert 3_600 <= after.value("signing_key_age_seconds", kid="c") < 3_700


async def test_secret_has_no_age(client: Client) -> None:
    assert (await scrape(client)).labels("kid") == set()


def age_file(file: Path, seconds: float) -> None:
    """Make a file that many seconds old."""
    os.utime(file, (time.time() - seconds,) * 2)
