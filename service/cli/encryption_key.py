"""`service encryption-key`."""

from base64 import b64encode

import click

from service.auth.encryption.encryption import Encryption
from service.auth.encryption.encryption_keys import derived_key, key_id
from service.settings import Settings, load_settings


@click.command("encryption-key")
def encryption_key() -> None:
    """Write the encryption key that is made from SECRET_KEY to standard output, in base64.

    It is in use while ENCRYPTION_KEYS is unset. Before SECRET_KEY changes, set ENCRYPTION_KEYS to
    it. It is a secret as SECRET_KEY is.
    """
    settings = load_settings()
    key = derived_key(settings)
    if settings.encryption_keys:
        click.echo(_role(settings, key), err=True)
    click.echo(b64encode(key).decode())


def _role(settings: Settings, key: bytes) -> str:
    key_ids = Encryption(settings).key_ids
    if key_id(key) in key_ids:
        return (
            f"ENCRYPTION_KEYS is set, and has this key as number {key_ids.index(key_id(key)) + 1}."
        )
    return "ENCRYPTION_KEYS is set, and does not have this key: it is not in use."
