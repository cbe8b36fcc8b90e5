"""Secrets: strong ones in production, a generated one in development."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

MIN_SECRET_BYTES: Final = 32
# How the secrets published in .env.example and docker-compose.yml start.
PUBLISHED_SECRET_PREFIX: Final = "development-only-"  # noqa: S105


def check_production_secret(name: str, secret: SecretStr) -> None:
    """Raise ValueError for a secret that is unset, published or too short for production."""
    value = secret.get_secret_value()
    if not value:
        raise ValueError(f"{name}: must be set in production")
    if value.startswith(PUBLISHED_SECRET_PREFIX):
        raise ValueError(f"{name}: is the published development secret; make one of your own")
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"{name}: must have at least {MIN_SECRET_BYTES} bytes in production")


def development_secret(path: Path) -> SecretStr:
    """Return the secret in the file, generated at the first use. Raises OSError.

    Tokens stay valid over a restart in development, because the file does.
    """
    if not path.exists():
        _create(path, secrets.token_urlsafe(48))
    return SecretStr(path.read_text())


def _create(path: Path, text: str) -> None:
    """Write a private file completely or not at all; the first of several processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
