"""All that a database holds, and the forms in which a secret may stand there."""

from base64 import b32encode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg

TABLES = """
SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
"""


async def read_everything(db: "asyncpg.Connection") -> bytes:
    """Every value of every row of every table: texts in UTF-8, and bytes as they are."""
    values = []
    for (table,) in await db.fetch(TABLES):
        for row in await db.fetch(f"SELECT * FROM {table}"):
            values += [value for column in row.values() for value in flatten(column)]
    return b"\n".join(values)


def flatten(value: Any) -> Iterator[bytes]:
    if isinstance(value, list):
        for item in value:
            yield from flatten(item)
    else:
        yield value if isinstance(value, bytes) else str(value).encode()


def holds(everything: bytes, secret: bytes) -> bool:
    """Whether a secret is in it: raw, in hexadecimal, base64 or base32, alone or within a text."""
    lower = everything.lower()
    return any(
        (
            secret in everything,
            secret.lower() in lower,
            secret.hex().encode() in lower,
            *(form in everything for form in encoded(secret, b64encode, 6)),
            *(form in everything for form in encoded(secret, urlsafe_b64encode, 6)),
            *(form.lower() in lower for form in encoded(secret, b32encode, 5)),
        )
    )


def encoded(secret: bytes, encode: Callable[[bytes], bytes], bits: int) -> Iterator[bytes]:
    """What an encoding makes of a secret alone, wherever it begins in the text that is encoded."""
    for before in range(bits):
        characters = encode(bytes(before) + secret).rstrip(b"=")
        # Those that hold bits of what is before or after it, too.
        first = -(-before * 8 // bits)
        yield characters[first : (before + len(secret)) * 8 // bits]
