"""TLS certificates: whether they are trusted, and for how many days they are good."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from service import clock
from service.doctor.findings import Findings
from service.worker.certificate import read_expiry

SECONDS: Final = 3.0
# Days before its end at which an authority's renewal is late.
EARLY: Final = 14


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows: until when it is good, and why it is not trusted, if it is not."""

    ends: datetime
    fault: str | None = None


async def look(host: str, port: int) -> Certificate:
    """Return the certificate that a server of TLS shows. Raises OSError or ValueError."""
    async with asyncio.timeout(SECONDS):
        try:
            ends, fault = await read_expiry(host, port, ssl.create_default_context()), None
        except ssl.SSLCertVerificationError as error:
            ends, fault = await read_expiry(host, port), error.verify_message
    return Certificate(datetime.fromtimestamp(ends, UTC), fault)


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
