"""Where a cluster lies: in DATA_DIR, or elsewhere when root's fallback user can't reach that."""

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from service.embedded_postgres.errors import EmbeddedError
from service.embedded_postgres.os_user import OsUser, current_user, fallback_user
from service.embedded_postgres.supervisor import data_of, read_postmaster

ELSEWHERE = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - its owner and mode are checked
SHARED = "service-postgres"
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103  # bytes: 107 on Linux, 103 on macOS


def find_home(data_dir: Path) -> tuple[Path, OsUser]:
    """Return the folder of the cluster, its log and its locks, and the user of the server.

    Raises EmbeddedError when the folder is another user's or can't be made.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    return _root_home(data_dir) if os.geteuid() == 0 else _own_home(data_dir)


def _own_home(data_dir: Path) -> tuple[Path, OsUser]:
    os_user = current_user()
    home = data_dir / "postgres"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.lstat().st_uid != os_user.uid:
        raise EmbeddedError(
            f"The database in {home} belongs to another user: run as that user, "
            "or set DATA_DIR to another folder."
        )
    return home, os_user


def _root_home(data_dir: Path) -> tuple[Path, OsUser]:
    home = data_dir / "postgres"
    if home.is_symlink():
        home = _linked_home(home)
        return home, fallback_user(data_of(home), data_dir)
    os_user = fallback_user(data_of(home), data_dir)
    if not os_user.can_reach(data_dir) and not home.exists():
        return _home_elsewhere(home, os_user), os_user
    owner = data_dir.stat()
    home.mkdir(mode=0o711, exist_ok=True)
    os.chown(home, owner.st_uid, owner.st_gid, follow_symlinks=False)
    if owner.st_uid == 0:
        home.chmod(0o711)
    if not os_user.can_reach(home):
        raise EmbeddedError(
            f"The database in {home} can't be reached by the user {os_user.name}, who runs it: "
            "open the folders above it, or set DATA_DIR to another folder."
        )
    return home, os_user


def _linked_home(link: Path) -> Path:
    home = link.readlink()
    if home.parent not in [base / SHARED for base in ELSEWHERE] or not _is_roots_own(home):
        raise EmbeddedError(
            f"{link} does not lead to a database that root made: remove it, "
            "or set DATA_DIR to another folder."
        )
    return home


def _mode(folder: Path, owner: int) -> int | None:
    """Return the mode of a folder that is the owner's; None for all else, links too."""
    try:
        found = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == owner
    return stat.S_IMODE(found.st_mode) if own else None


def _is_roots_own(folder: Path) -> bool:
    mode = _mode(folder, 0)
    return mode is not None and not mode & 0o022


def shared_folder(os_user: OsUser) -> Path:
    """Root's own folder, open to the account, for what can't lie at its usual place."""
    for base in ELSEWHERE:
        folder = base / SHARED
        try:
            folder.mkdir(exist_ok=True)
            if _is_roots_own(folder):
                folder.chmod(0o755)
                if os_user.can_reach(folder):
                    return folder
        except OSError:
            continue
    raise EmbeddedError(
        f"The user {os_user.name} can't reach the database's folder, and {SHARED} can be made in "
        f"none of {', '.join(map(str, ELSEWHERE))}: set DATA_DIR or DATABASE_URL."
    )


def _home_elsewhere(link: Path, os_user: OsUser) -> Path:
    home = Path(tempfile.mkdtemp(prefix="data-", dir=shared_folder(os_user)))
    home.chmod(0o711)
    try:
        link.symlink_to(home)
    except FileExistsError:  # another process was faster
        shutil.rmtree(home)
        return _linked_home(link)
    return home


def socket_folder(home: Path, os_user: OsUser) -> Path:
    """A folder of mode 0700 for the socket, whose path fits into an address."""
    folder = home / "socket"
    if _fits(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        os_user.chown(folder)
        return folder
    last = read_postmaster(home)
    if last and _mode(last.socket_dir, os_user.uid) == 0o700 and _fits(last.socket_dir):
        return last.socket_dir  # those who use it know no other
    for base in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        if _fits(base / "service-pg-12345678") and base.is_dir() and os_user.can_reach(base):
            folder = Path(tempfile.mkdtemp(prefix="service-pg-", dir=base))
            os_user.chown(folder)
            return folder
    raise EmbeddedError(f"There is no folder for temporary files that {os_user.name} can reach.")


def _fits(folder: Path) -> bool:
    """Short enough, and free of what clients split or quote, such as the comma between hosts."""
    path = str(folder / SOCKET)
    return len(path) <= SOCKET_PATH_LIMIT and re.fullmatch(r"[\w/.+-]+", path, re.ASCII) is not None
