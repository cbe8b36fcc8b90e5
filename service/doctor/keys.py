"""The keys that sign access tokens, and those that encrypt: their number, rights and ages."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import Final

from service.auth.key_ring import KeyRing
from service.doctor.findings import Deployment, Findings, say_wrong
from service.settings import Settings, SettingsError

OLD: Final = timedelta(days=365)
_ROTATION: Final = "docs/operations.md, Rotation of signing keys"


async def check(deployment: Deployment, found: Findings) -> None:
    """Look at the keys of the settings, not at what is stored under them."""
    settings = deployment.settings
    await _check_signing(settings, found)
    needed = {"ENCRYPTION_KEYS"} if settings.encryption_keys else {"ENCRYPTION_KEYS", "SECRET_KEY"}
    if wrong := deployment.wrong & needed:
        found.skipped(f"the encryption keys are not looked at, because {say_wrong(wrong)}")
        return
    count = len(settings.encryption_keys)
    if count:
        found.ok(f"ENCRYPTION_KEYS has {count} key{'' if count == 1 else 's'}; the first encrypts")
    else:
        found.ok(
            "the encryption key is made from SECRET_KEY",
            "ENCRYPTION_KEYS lets SECRET_KEY be changed by itself",
        )


async def _check_signing(settings: Settings, found: Findings) -> None:
    try:
        ring = KeyRing(settings, lambda: None)
    except SettingsError as error:
        found.problem(str(error), f"see {_ROTATION}")
        return
    folder = settings.jwt_keys_dir
    if folder is None:
        found.ok("access tokens are signed by a secret (HS256)")
        return
    for file in sorted(folder.glob("*.pem")):
        _check_readers(file, found)
    signing, verifying = ring.current.signing, len(ring.current.by_id)
    age = timedelta(seconds=(await ring.ages())[signing.kid,])
    words = f"{signing.kid} ({signing.algorithm}) signs access tokens; its file is {age.days} days"
    if age > OLD:
        found.warning(f"{words} old", f"rotate it: {_ROTATION}")
    else:
        found.ok(f"{words} old; {verifying} key{'' if verifying == 1 else 's'} verify")


def _check_readers(file: Path, found: Findings) -> None:
    if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        found.warning(
            f"{file.name} in JWT_KEYS_DIR can be read by every user of its machine",
            f"chmod o= {file.name}, and rotate it where others had access",
        )
