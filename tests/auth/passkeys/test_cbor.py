"""CBOR that would grow without end when the library decodes and encodes it."""

from dataclasses import dataclass

import cbor2
import pytest

from service.auth.passkeys.cbor import require_plain_data, require_untagged
from tests.support.authenticator import Credential, SoftwareAuthenticator
from tests.support.client import Client, refused
from tests.support.passkeys import add_passkey, sign_in

ED = 0x80  # there are extensions
LEVELS = 8  # few, because each one doubles the list
# A list that has another one twice, which has another one twice, and so on.
DOUBLED = b"\xd8\x1c\x82" * LEVELS + b"\xd8\x1c\x80"
DOUBLED += b"".join(b"\xd8\x1d" + bytes([level]) for level in range(LEVELS, 0, -1))


@dataclass
class Extending(SoftwareAuthenticator):
    """An authenticator that says something of extensions when it shows a credential."""

    extensions: bytes = b""

    def auth_data(self, credential: Credential, more: int = 0) -> bytes:
        """What it says, with the extensions unless the credential is a new one."""
        if more or not self.extensions:
            return super().auth_data(credential, more)
        return super().auth_data(credential, ED) + self.extensions


async def test_an_assertion_whose_extensions_refer_to_each_other_is_refused(client: Client) -> None:
    authenticator = Extending()
    await add_passkey(await client.sign_up(), authenticator)
    authenticator.extensions = cbor2.dumps({"hmac-secret": bytes(32), "n": [1, -500, True, None]})
    assert (await sign_in(client, authenticator)).status == 200
    authenticator.extensions = DOUBLED
    assert refused(await sign_in(client, authenticator), 401)["reason"] == "passkey_refused"


@pytest.mark.parametrize("start", [b"", b"\xa1", b"\x9f", b"\x5f\x41a\xff", b"\x59\x00\x01a"])
def test_tags_are_refused_wherever_they_are(start: bytes) -> None:
    require_untagged(start)
    require_untagged(start + b"\x42\xd8\x1c")  # within a string
    with pytest.raises(ValueError, match="tag"):
        require_untagged(start + DOUBLED)


@pytest.mark.parametrize(
    "longer", ["1817", "190001", "1a00000001", "1b0000000000000001", "580161", "f90000", "5f"]
)
def test_what_is_longer_than_it_need_be_is_refused_in_authenticator_data(longer: str) -> None:
    data = bytes(37)
    assert require_plain_data(data) == data
    for whole in (0, 24, 255, 256, 65_536, 2**32, -1, -(2**40), b"x" * 300, "é" * 20, [{1: b""}]):
        require_plain_data(data + cbor2.dumps(whole))
    with pytest.raises(ValueError, match="CBOR"):
        require_plain_data(data + bytes.fromhex(longer))


@pytest.mark.parametrize("data", [None, [], {}, "text", b"", bytes(36)])
def test_what_is_no_authenticator_data_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="authenticator data"):
        require_plain_data(data)
