"""The keys of access tokens while the process runs, which follow the folder JWT_KEYS_DIR.

A new key must verify in every process before it signs in one of them. So the folder is read anew
from time to time and at SIGHUP, and also when a token names a key that nobody here knows: its
issuer has read the folder already.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from service import clock
from service.auth.keys import Key, KeySet, load_keys
from service.settings import Settings, SettingsError

log: Final = structlog.get_logger(__name__)

# Seconds from one read of the folder to the next.
RELOAD_INTERVAL: Final = 60.0
# Seconds between two looks at the folder for keys that tokens name: anybody can name one.
LOOK_INTERVAL: Final = 0.1

# The name of each key's file, and what changes with its content.
Listing = frozenset[tuple[str, int, int, int]]


class KeyRing:
    """The current key set. An unusable folder is logged, and the keys in use stay.

    `on_change` is called after each change of the keys. For the thread of the event loop only.
    Raises SettingsError for keys that are unusable at the start.
    """

    def __init__(self, settings: Settings, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._on_change = on_change
        # Before the keys, so that a change during their read is seen later.
        self._listing = self._list()
        self._looked_at = 0.0
        self.current = load_keys(settings)

    def find(self, key_id: str) -> Key | None:
        """Return the key with an id, or None when the folder does not have it either."""
        key = self.current.by_id.get(key_id)
        if key is None and self._has_changed():
            self.reload()
            key = self.current.by_id.get(key_id)
        return key

    def reload(self) -> None:
        """Read the folder anew."""
        self._adopt(self._read())

    async def ages(self) -> Mapping[tuple[str, ...], float]:
        """Return how many seconds ago the file of each key was written, by `kid`.

        None under HS256, nor for a file that is gone although its key is still in use.
        """
        folder = self._settings.jwt_keys_dir
        if folder is None:
            return {}
        return await asyncio.to_thread(_ages, folder, list(self.current.by_id))

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Read the folder anew each RELOAD_INTERVAL, until the block ends."""
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()

    async def _follow(self) -> None:
        while self._settings.jwt_keys_dir is not None:
            await asyncio.sleep(RELOAD_INTERVAL)
            self._adopt(await asyncio.to_thread(self._read))

    def _read(self) -> KeySet | None:
        try:
            return load_keys(self._settings)
        except (SettingsError, OSError) as error:
            log.error("keys not read anew", reason=str(error))
            return None

    def _adopt(self, keys: KeySet | None) -> None:
        if keys is None or _identity(keys) == _identity(self.current):
            return
        self.current = keys
        self._on_change()
        log.info("keys read anew", signing=keys.signing.kid, verifying=list(keys.by_id))

    def _has_changed(self) -> bool:
        """Whether the folder has changed since the last look, at most once in LOOK_INTERVAL."""
        now = time.monotonic()
        if self._settings.jwt_keys_dir is None or now - self._looked_at < LOOK_INTERVAL:
            return False
        self._looked_at = now
        before, self._listing = self._listing, self._list()
        return self._listing != before

    def _list(self) -> Listing:
        folder = self._settings.jwt_keys_dir
        try:
            return frozenset(_files(folder)) if folder else frozenset()
        except OSError:  # reported at the next read
            return frozenset()


def _files(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".pem"):
                found = entry.stat()
                yield entry.name, found.st_ino, found.st_ctime_ns, found.st_size


def _ages(folder: Path, kids: Sequence[str]) -> dict[tuple[str, ...], float]:
    now = clock.now().timestamp()
    ages: dict[tuple[str, ...], float] = {}
    for kid in kids:
        with suppress(OSError):
            ages[kid,] = max(0.0, now - (folder / f"{kid}.pem").stat().st_mtime)
    return ages


def _identity(keys: KeySet) -> tuple[str, dict[str, object]]:
    return keys.signing.kid, {kid: key.jwk for kid, key in keys.by_id.items()}
