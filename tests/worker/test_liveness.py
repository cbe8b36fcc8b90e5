"""The worker's liveness, as a container and systemd see it."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError
from service.testing.application import working
from service.worker.liveness import NOTIFY_SOCKET, Heartbeat
from tests.support.polling import until


async def test_idle_worker_touches_its_file_and_feeds_the_watchdog(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "heartbeat"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.setblocking(False)
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv(NOTIFY_SOCKET, str(tmp_path / "notify"))
        async with working(settings.model_copy(update={"worker_heartbeat_file": file})):
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(15):
                for _ in range(10):  # more than a start sends
                    assert await loop.sock_recv(systemd, 100) == b"WATCHDOG=1"
                    os.utime(file, (0, 0))
                await until(lambda: asyncio.to_thread(lambda: file.stat().st_mtime))


def test_unwritable_heartbeat_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="WORKER_HEARTBEAT_FILE: No such file"):
        Heartbeat(tmp_path / "missing" / "heartbeat")
