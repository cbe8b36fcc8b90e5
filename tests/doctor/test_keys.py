"""Keys, as `service doctor` finds them."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.doctor import keys
from service.testing.application import make_settings
from service.testing.clock import Clock
from tests.support.doctor import Found, look
from tests.support.stored_secrets import NEW, OLD, encryption_keys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("2025", "2026"):
        file = tmp_path / f"{name}.pem"
        key = Ed25519PrivateKey.generate()
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.chmod(0o600)
    return tmp_path


async def examined(**settings: object) -> Found:
    return await look(keys.check, make_settings(**settings))


async def test_the_key_that_signs_is_named_with_its_age(folder: Path) -> None:
    found = await examined(jwt_keys_dir=folder)
    assert found.is_well
    assert "2026 (EdDSA) signs access tokens; its file is 0 days old; 2 keys verify" in found["ok"]


async def test_an_old_key_that_signs_is_a_warning(folder: Path, clock: Clock) -> None:
    old = clock.now().timestamp() - 400 * 86_400
    os.utime(folder / "2025.pem", (old, old))
    assert (await examined(jwt_keys_dir=folder)).is_well
    found = await examined(jwt_keys_dir=folder, jwt_signing_key="2025")
    assert "2025 (EdDSA) signs access tokens; its file is 400 days old" in found["warning"]


async def test_a_key_that_every_user_reads_is_a_warning(folder: Path) -> None:
    (folder / "2025.pem").chmod(0o644)
    assert (
        "2025.pem in JWT_KEYS_DIR can be read" in (await examined(jwt_keys_dir=folder))["warning"]
    )
    (folder / "2025.pem").chmod(0o640)
    assert (await examined(jwt_keys_dir=folder)).is_well


async def test_a_file_that_is_no_key_is_a_problem(folder: Path) -> None:
    (folder / "2026.pem").write_text("no key")
    assert "2026.pem" in (await examined(jwt_keys_dir=folder))["problem"]
    missing = await examined(jwt_keys_dir=folder, jwt_signing_key="2027")
    assert missing["problem"]


async def test_without_a_folder_a_secret_signs() -> None:
    found = await examined()
    assert found.is_well
    assert "HS256" in found["ok"]


async def test_encryption_keys_are_counted() -> None:
    found = await examined(encryption_keys=encryption_keys(NEW, OLD))
    assert "ENCRYPTION_KEYS has 2 keys" in found["ok"]
    assert "made from SECRET_KEY" in (await examined())["ok"]


async def test_wrong_encryption_keys_are_not_said_to_be_made_from_another_secret() -> None:
    found = await look(keys.check, make_settings(), "ENCRYPTION_KEYS")
    assert "ENCRYPTION_KEYS is wrong" in found["skipped"]
    assert "made from SECRET_KEY" not in found["ok"]
