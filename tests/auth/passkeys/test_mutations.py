"""Changed registrations and assertions: never a 500, and never a success for what is signed."""

import json
import random
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from service.settings import Settings
from service.testing.application import make_settings
from tests.support.authenticator import SoftwareAuthenticator, decode, encode
from tests.support.client import Client
from tests.support.passkeys import add_passkey, creation_options, login_options, show

Mutation = Callable[[random.Random, bytes], bytes]
MANY = pytest.param(2_500, marks=[pytest.mark.proof, pytest.mark.timeout(900)])
ODD: list[Any] = [None, True, 0, -1, 1.5, "", "a", "é", "\ud800", [], {}, [[]], "A" * 9_000]


def flip(chance: random.Random, value: bytes) -> bytes:
    """The bytes with one bit changed."""
    place = chance.randrange(len(value))
    return value[:place] + bytes([value[place] ^ 1 << chance.randrange(8)]) + value[place + 1 :]


def cut(chance: random.Random, value: bytes) -> bytes:
    """The beginning of the bytes."""
    return value[: chance.randrange(len(value))]


def grow(chance: random.Random, value: bytes) -> bytes:
    """The bytes with others after, before or among them."""
    place = chance.randrange(len(value) + 1)
    return value[:place] + chance.randbytes(chance.choice([1, 8, 700])) + value[place:]


def scramble(chance: random.Random, value: bytes) -> bytes:
    """Other bytes."""
    return chance.randbytes(len(value))


MUTATIONS: list[Mutation] = [flip, flip, flip, cut, grow, scramble]


def mutate_bytes(chance: random.Random, credential: Any, member: str) -> None:
    """Change one of the members that are bytes."""
    response = credential["response"]
    value = decode(response[member])
    response[member] = encode(chance.choice(MUTATIONS)(chance, value))


def mutate_form(chance: random.Random, credential: Any) -> None:
    """Put something odd in the place of a member, or leave it out."""
    owner = chance.choice([credential, credential["response"]])
    name = chance.choice([*owner, "more"])
    if name in owner and chance.random() < 0.3:
        del owner[name]
    else:
        owner[name] = chance.choice(ODD)


def mutate_client_data(chance: random.Random, credential: Any) -> None:
    """Change what the browser says."""
    response = credential["response"]
    client_data = json.loads(decode(response["clientDataJSON"]))
    name = chance.choice([*client_data, "topOrigin", "tokenBinding"])
    client_data[name] = chance.choice([*ODD, {"status": "present"}, [1] * 500])
    response["clientDataJSON"] = encode(json.dumps(client_data).encode())


def mutate_attestation(chance: random.Random, credential: Any) -> None:
    """Change the parts of an attestation object."""
    response = credential["response"]
    attested = cbor2.loads(decode(response["attestationObject"]))
    name = chance.choice(["fmt", "attStmt", "authData", "more"])
    odd: list[Any] = [None, 7, "packed", "tpm", b"", {}, {"x5c": [b"x"], "sig": b"", "alg": -7}]
    attested[name] = chance.choice([*odd, cut(chance, attested["authData"])])
    response["attestationObject"] = encode(cbor2.dumps(attested))


def said_by(credential: Any) -> Any:
    """What the browser says that must be so."""
    said = json.loads(decode(credential["response"]["clientDataJSON"]))
    names = ("type", "origin", "topOrigin")
    return [
        *(said.get(name) for name in names),
        decode(said["challenge"]),
        bool(said.get("crossOrigin")),
    ]


@pytest.fixture
def settings(database_url: str) -> Settings:
    """A log that says little: each refusal is a line."""
    return make_settings(database_url=database_url, log_level="ERROR")


@pytest.mark.parametrize("number", [250, MANY])
async def test_changed_assertions_are_refused(client: Client, number: int) -> None:
    chance = random.Random(number)
    authenticators = [SoftwareAuthenticator(algorithm) for algorithm in ("EdDSA", "ES256")]
    for authenticator in authenticators:
        await add_passkey(await client.sign_up(), authenticator)
    for turn in range(number):
        authenticator = authenticators[turn % 2]
        credential = authenticator.get(await login_options(client))
        kind = chance.randrange(5)
        if kind < 3:
            member = ["authenticatorData", "signature", "clientDataJSON"][kind]
            mutate_bytes(chance, credential, member)
        elif kind == 3:
            mutate_client_data(chance, credential)
        else:
            mutate_form(chance, credential)
        sent = json.dumps(credential)
        answer = await show(client, credential)
        if kind == 4:
            assert answer.status in {200, 400, 401}, sent
        else:
            assert answer.status in {400, 401}, sent


@pytest.mark.parametrize("number", [250, MANY])
async def test_changed_registrations_are_refused(client: Client, number: int) -> None:
    chance = random.Random(number)
    one = await client.sign_up()
    authenticator = SoftwareAuthenticator("ES256")
    options = await creation_options(one)
    for turn in range(number):
        credential = authenticator.create(options)
        authenticator.credentials.clear()
        said = said_by(credential)
        kind = turn % 5
        if kind == 0:
            mutate_bytes(chance, credential, "attestationObject")
        elif kind == 1:
            mutate_bytes(chance, credential, "clientDataJSON")
        elif kind == 2:
            mutate_client_data(chance, credential)
        elif kind == 3:
            mutate_attestation(chance, credential)
        else:
            mutate_form(chance, credential)
        sent = json.dumps(credential)
        answer = await one.post("/auth/passkeys", {"credential": credential})
        # Without attestation nobody signs what is registered.
        assert answer.status in {201, 400, 403}, sent
        if answer.status == 201:
            assert said_by(credential) == said, sent
        if answer.status == 201:
            assert (await one.delete(answer.headers["Location"])).status == 204
            options = await creation_options(one)
