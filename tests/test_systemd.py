"""deploy/systemd: units that stop, restart and are confined as the containers are."""

import re
import shutil
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from service.settings import PROJECT

UNITS = PROJECT / "deploy" / "systemd"
SERVICE, WORKER = "service@.service", "service-worker.service"
COMPOSE = (PROJECT / "docker-compose.yml").read_text()
# Directives that run a unit; every other one confines it.
RUNNING = {
    "Environment",
    "EnvironmentFile",
    "ExecStart",
    "KillMode",
    "LimitNOFILE",
    "LogRateLimitIntervalSec",
    "MemoryMax",
    "NotifyAccess",
    "Restart",
    "RestartSec",
    "TimeoutStopSec",
    "Type",
    "WatchdogSec",
    "WorkingDirectory",
}
YES = {
    "DynamicUser",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RemoveIPC",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
}
CONFINED = {key: ["yes"] for key in YES} | {
    "AmbientCapabilities": [""],
    "CapabilityBoundingSet": [""],
    "ProtectProc": ["invisible"],
    "ProtectSystem": ["strict"],
    "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
    "SystemCallArchitectures": ["native"],
    "SystemCallErrorNumber": ["EPERM"],
    "SystemCallFilter": ["@system-service", "~@privileged"],
    "UMask": ["0077"],
}

both = pytest.mark.parametrize("unit", [SERVICE, WORKER])


def read_unit(name: str) -> dict[str, list[str]]:
    """The directives of a unit's [Service], each with its values in their order."""
    text = (UNITS / name).read_text().partition("\n[Service]\n")[2].partition("\n[Install]\n")[0]
    directives: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            directives[key].append(value)
    return dict(directives)


def compose_value(block: str, key: str) -> str:
    """The value of a key directly below a block of docker-compose.yml."""
    found = re.search(rf"(?m)^( *){block}:.*\n(?:\1 .*\n|\n)*?\1  {key}: (\S+)$", COMPOSE)
    assert found, (block, key)
    return found[2]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_process_is_killed_only_after_its_own_end() -> None:
    server = tomllib.loads((PROJECT / "hypercorn.toml").read_text())
    stop = seconds(read_unit(SERVICE)["TimeoutStopSec"][0])
    assert stop == seconds(compose_value("x-service", "stop_grace_period"))
    assert stop > server["graceful_timeout"] + server["shutdown_timeout"]


def test_worker_is_killed_only_after_a_mail_may_have_ended() -> None:
    stop = seconds(read_unit(WORKER)["TimeoutStopSec"][0])
    assert stop == seconds(compose_value("worker", "stop_grace_period"))


def test_watchdog_of_the_worker_outlasts_its_stop() -> None:
    unit = read_unit(WORKER)
    assert unit["NotifyAccess"] == ["main"]
    assert seconds(unit["WatchdogSec"][0]) > seconds(unit["TimeoutStopSec"][0])


def test_container_of_the_worker_is_checked_by_its_heartbeat_file() -> None:
    file = compose_value("worker", "  WORKER_HEARTBEAT_FILE")
    assert f'test: [CMD-SHELL, "find {file} -mmin -1 | grep -q ."]' in COMPOSE


@both
def test_memory_is_limited_as_in_a_container(unit: str) -> None:
    assert read_unit(unit)["MemoryMax"] == [compose_value("x-service", "mem_limit").upper()]


@both
def test_failure_is_restarted_and_an_end_is_not(unit: str) -> None:
    directives = read_unit(unit)
    assert directives["Restart"] == ["on-failure"]
    # SIGTERM goes to the process that `service` is, and not to what that has started.
    assert directives["KillMode"] == ["mixed"]


@both
def test_unit_is_confined(unit: str) -> None:
    directives = read_unit(unit)
    assert {key: directives[key] for key in directives.keys() - RUNNING} == CONFINED


def test_commands_are_those_of_the_service() -> None:
    program = "/opt/service/.venv/bin/service"
    assert read_unit(SERVICE)["ExecStart"] == [f"{program} serve --bind 127.0.0.1:%i"]
    assert read_unit(WORKER)["ExecStart"] == [f"{program} worker"]


@pytest.mark.proof
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """All that systemd looks up is below a root of the test's own, the program included."""
    analyze = shutil.which("systemd-analyze")
    assert analyze, "install systemd first"
    folder = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(UNITS, folder)
    for target in ("basic", "multi-user", "network-online", "shutdown", "sysinit"):
        (folder / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    program = tmp_path / "opt" / "service" / ".venv" / "bin" / "service"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    done = subprocess.run(
        [analyze, "verify", "--man=no", f"--root={tmp_path}", "service@8001.service", WORKER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # A directive that systemd does not know is only mentioned.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
