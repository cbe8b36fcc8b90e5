"""The file of settings for development."""

from pathlib import Path


def check_env_file(path: Path) -> None:
    """Raise ValueError where the file is not UTF-8, naming the line. Raises OSError.

    Otherwise UTF-16, as some editors and shells write, would set nothing, and in silence. A byte
    order mark is no harm.
    """
    # A pipe could be read but once.
    if not path.is_file():
        return
    data = path.read_bytes()
    wrong = data.find(b"\0")  # no text has one, but UTF-16 and UTF-32 have many
    try:
        data.decode()
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = data.count(b"\n", 0, wrong) + 1
        raise ValueError(f"is not UTF-8 (line {line}): save it in that encoding")
