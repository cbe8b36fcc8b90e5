"""Proxies in front of the service: the programs, configured by what deploy/ has."""

import asyncio
import datetime
import ipaddress
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.settings import PROJECT
from tests.support.polling import until
from tests.support.processes import free_port
from tests.support.server import exchange, head

DEPLOY: Final = PROJECT / "deploy"
# How the line of deploy/haproxy.cfg with TLS begins.
SECURE: Final = "# bind :8443 ssl crt "


def program(name: str) -> str:
    """A program that Debian packages."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, f"install {name} first"
    return found


@asynccontextmanager
async def running(*command: str, port: int) -> AsyncIterator[None]:
    """A server, from when it listens on the port; what it says is shown when it ends too early."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )

    async def listens() -> bool:
        assert process.returncode is None, f"{command} ended"
        return await listening(port)

    try:
        await until(listens)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def listening(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def configured(text: str, own: Mapping[str, list[str]]) -> str:
    """A configuration in which these lines take the place of those that begin so."""
    left, lines = dict(own), []
    for line in text.splitlines():
        starts = [start for start in own if line.strip().startswith(start)]
        for start in starts:
            lines += left.pop(start, [])
        lines += [] if starts else [line]
    assert not left, f"no line begins with {list(left)}"
    return "\n".join([*lines, ""])


class Replica(Protocol):
    """A service behind a proxy."""

    @property
    def port(self) -> int:
        """Its port on loopback."""


@dataclass(frozen=True)
class Certificate:
    """A certificate of localhost that signs itself, with its key: apart, and in one file."""

    chain: Path
    key: Path
    both: Path

    def context(self) -> ssl.SSLContext:
        """What a client needs that trusts it."""
        return ssl.create_default_context(cafile=self.chain)


def make_certificate(folder: Path) -> Certificate:
    """A new certificate, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "both.pem")
    for path, content in ((made.chain, chain), (made.key, secret), (made.both, chain + secret)):
        path.write_bytes(content)
    return made


def balancer_config(
    folder: Path, port: int, statistics: int, replicas: list[int], tls: str | None = None
) -> Path:
    """deploy/haproxy.cfg, with these replicas instead of those that Docker's DNS knows.

    `tls` takes the place of the line with TLS that is switched off there.
    """
    servers = [
        f"    server api{number} 127.0.0.1:{replica}" for number, replica in enumerate(replicas, 1)
    ]
    own = {
        "server-template api": servers,
        "bind :8080": [f"    bind 127.0.0.1:{port}"],
        SECURE: [f"    {tls}"] if tls else [],
    }
    text = configured((DEPLOY / "haproxy.cfg").read_text(), own)
    path = folder / "haproxy.cfg"
    path.write_text(f"{text}frontend stats\n    bind 127.0.0.1:{statistics}\n    stats enable\n")
    return path


@asynccontextmanager
async def balanced(
    folder: Path, *replicas: Replica, tls: str | None = None
) -> AsyncIterator[tuple[int, int]]:
    """HAProxy in front of these; yields its port, and that of its statistics."""
    port, statistics = free_port(), free_port()
    ports = [replica.port for replica in replicas]
    config = balancer_config(folder, port, statistics, ports, tls)
    async with running(program("haproxy"), "-db", "-f", str(config), port=port):
        await until(lambda: in_use(statistics, len(replicas)))
        yield port, statistics


async def in_use(statistics: int, count: int) -> bool:
    """Whether the balancer sends requests to so many replicas."""
    rows = await read_statistics(statistics)
    up = [row for row in rows if row["pxname"] == "api" and row["svname"] != "BACKEND"]
    return [row["status"] for row in up].count("UP") == count


async def read_statistics(port: int) -> list[dict[str, str]]:
    """HAProxy's statistics, a row for each of its frontends, backends and servers."""
    answer = await exchange(port, head("GET", "/haproxy?stats;csv"))
    # Among the rows are the lengths of the body's chunks.
    rows = [row.split(",") for row in answer.body.decode().splitlines()]
    names = next(row for row in rows if row[0] == "# pxname")
    named = [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]
    return [{"pxname": row["# pxname"], **row} for row in named]
