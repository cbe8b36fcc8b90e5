"""TLS certificates: whether they are trusted, and for how many days they are good."""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from service import clock
from service.doctor.findings import Findings

SECONDS: Final = 3.0
# Days before its end at which an authority's renewal is late.
EARLY: Final = 14


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows: until when it is good, and why it is not trusted, if it is not."""

    ends: datetime
    fault: str | None = None


async def look(host: str, port: int) -> Certificate:
    """Return the certificate that a server of TLS shows. Raises OSError."""
    context = ssl.create_default_context()
    try:
        return Certificate(ends_at(await _shown(host, port, context)))
    except ssl.SSLCertVerificationError as error:
        fault = error.verify_message
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Certificate(ends_at(await _shown(host, port, context)), fault)


def ends_at(encoded: bytes) -> datetime:
    """Return until when a certificate, in DER, is good."""
    return x509.load_der_x509_certificate(encoded).not_valid_after_utc


def report(found: Findings, name: str, certificate: Certificate, advice: str) -> None:
    """Add what a certificate's trust and age mean."""
    days = (certificate.ends - clock.now()).days
    if days < 0:
        found.problem(f"the certificate of {name} ended {-days} days ago", "renew it")
    elif certificate.fault is not None:
        found.problem(f"the certificate of {name} is not trusted ({certificate.fault})", advice)
    elif days < EARLY:
        found.warning(
            f"the certificate of {name} ends in {days} days", "see why it is not renewed by itself"
        )
    else:
        found.ok(f"the certificate of {name} is good for {days} days")


async def _shown(host: str, port: int, context: ssl.SSLContext) -> bytes:
    async with asyncio.timeout(SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        encoded: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        # At once: some servers answer no goodbye.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
    if encoded is None:
        raise ConnectionError("no certificate")
    return encoded
