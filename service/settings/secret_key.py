"""Secrets: strong ones in production, a generated one in development."""

import os
import re
import secrets
import tempfile
import unicodedata
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

MIN_SECRET_BYTES: Final = 32
MIN_DIFFERENT_CHARACTERS: Final = 10
# How published secrets begin, whatever follows: this project's (.env.example, docker-compose.yml),
# and those of frameworks' templates.
PUBLISHED_BEGINNINGS: Final = (
    "developmentonly", "devsecretkey", "yoursecret", "yoursupersecret", "changethis", "changeme",
    "djangoinsecure",
)  # fmt: skip
# The random ones in the documentation of Flask and of FastAPI.
PUBLISHED_SECRETS: Final = frozenset({
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
})  # fmt: skip
# The words of placeholders such as dev-secret-key-change-in-production. A secret of one's own has
# others, too.
PLACEHOLDER_WORDS: Final = """
    1234567890 0123456789 abcdef a add admin an any anyone api app application as at auth
    backend bad be before bit bits byte bytes change changed char characters chars csrf custom
    default demo deploy deployment dev development django do dont dummy encryption enter example
    fake fallback fastapi flask for from generate generated goes guess hard here hmac if in
    insecure insert is it json jwt keep key keys knowing knows least local long me min minimum
    must my never new nobody not now of on only or our own password placeholder please precious
    private prod production put python quart random real replace safe sample secret secrets
    secure server service session set should signing some something string strong super tell
    temp temporary test testing than that the this to token top unsafe use value very web will
    with you your
"""
_PLACEHOLDER: Final = re.compile(rf"(({'|'.join(PLACEHOLDER_WORDS.split())})\d{{0,8}})+")


def check_production_secret(name: str, secret: SecretStr) -> None:
    """Raise ValueError for a secret that is unset, published or too weak for production."""
    value = secret.get_secret_value()
    if not value:
        raise ValueError(f"{name}: must be set in production")
    if _is_published(value):
        raise ValueError(f"{name}: is a published secret or a placeholder; make one of your own")
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"{name}: must have at least {MIN_SECRET_BYTES} bytes in production")
    if len(set(value)) < MIN_DIFFERENT_CHARACTERS:
        least = f"at least {MIN_DIFFERENT_CHARACTERS} different characters"
        raise ValueError(f"{name}: must have {least} in production")


def check_production_key(name: str, key: SecretStr) -> None:
    """Raise ValueError for an encryption key, in base64, that cannot be random."""
    if len(set(b64decode(key.get_secret_value()))) < MIN_DIFFERENT_CHARACTERS:
        raise ValueError(f"{name}: must be random keys in production: `openssl rand -base64 32`")


def _is_published(secret: str) -> bool:
    """Whether anybody can know the secret, whatever its case and what stands between its words."""
    folded = unicodedata.normalize("NFKC", secret).casefold()
    letters = "".join(character for character in folded if character.isalnum())
    return (
        letters.startswith(PUBLISHED_BEGINNINGS)
        or letters in PUBLISHED_SECRETS
        or _PLACEHOLDER.fullmatch(letters) is not None
    )


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
