"""A bare Debian forky, whose Python is 3.14, and commands on a copy of the project in it.

It is made once by debootstrap and kept in the user's cache, outside of the project.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.settings import PROJECT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
TREE = CACHE / "service-forky"
# What README asks for.
PACKAGES = ("ca-certificates", "make", "python3", "python3-venv")
# Releases of debootstrap from before forky have no script of that name; all of Debian's are alike.
SCRIPT = "/usr/share/debootstrap/scripts/sid"
# How this machine reaches the network.
CONFIGURATION = (
    "etc/hosts", "etc/pip.conf", "etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"
)  # fmt: skip
PASSED_ON = re.compile("(?i)PIP_.*|.*_PROXY|SSL_CERT_.*")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
ENTER = """
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
exec chroot "$0" sh -ec "cd /srv/service && exec $1"
"""


def missing() -> str | None:
    """What this machine lacks for it; None when it has everything."""
    if os.geteuid() != 0:
        return "root is needed"
    if not (shutil.which("debootstrap") and Path(SCRIPT).exists()):
        return "debootstrap is needed (Debian: apt-get install debootstrap)"
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        return "the right to make namespaces is needed"
    return None


@contextmanager
def prepared() -> Iterator[None]:
    """The system, made unless it is in the cache, with the project; one user at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "service-forky.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not TREE.exists():
            _bootstrap()
        for name in CONFIGURATION:
            (TREE / name).unlink(missing_ok=True)
            if Path("/", name).exists():
                shutil.copy(Path("/", name), TREE / name)
        _copy_project(TREE / "srv" / "service")
        yield


def _bootstrap() -> None:
    partial = Path(tempfile.mkdtemp(prefix="service-forky-", dir=CACHE))
    try:
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        # The mirror is the script's own.
        _finish([*command, "forky", str(partial), "", SCRIPT])
        partial.chmod(0o755)
        partial.rename(TREE)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_project(target: Path) -> None:
    """Replace the copy of the project; its virtual environment stays, as make would keep it."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if path.name != ".venv":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    listed = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others"]
    for name in _finish([*listed, "--exclude-standard"]).split("\0"):
        if name and (PROJECT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target / name)


def run(command: str) -> str:
    """Run a command on the copy to its end, which must be a good one; what it wrote."""
    process = start(command)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def start(command: str) -> "subprocess.Popen[str]":
    """Start a command on the copy; when it is killed, everything that it started is, too."""
    environment = {name: text for name, text in os.environ.items() if PASSED_ON.fullmatch(name)}
    return subprocess.Popen(
        [*NAMESPACES, "sh", "-ec", ENTER, str(TREE), command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(command: list[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
