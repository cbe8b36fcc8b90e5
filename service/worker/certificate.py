"""The certificate that the host of PUBLIC_URL shows, looked at for the time of its end."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import structlog
from cryptography import x509

from service.observability.metrics import Metrics
from service.settings import Settings
from service.settings.types import DEFAULT_PORTS

LOOK_EACH: Final = 3600.0  # seconds
# After a look that failed: the server may only be starting.
RETRY_EACH: Final = 300.0  # seconds
LOOK_TIMEOUT: Final = 5.0  # seconds

log: Final = structlog.get_logger(__name__)


class PublicCertificate:
    """The end of the certificate that was seen last, among the metrics once there is one."""

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._expiry: float | None = None
        self._failed = False

    async def follow(self) -> None:
        """Look each LOOK_EACH, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(RETRY_EACH if self._failed else LOOK_EACH)

    async def look(self) -> None:
        """Look once; what fails is logged, the first time in a row, and changes nothing."""
        try:
            expiry = await read_expiry(self._host, self._port)
        except (OSError, ValueError, x509.InvalidVersion) as error:
            if not self._failed:
                log.warning("public certificate not seen", reason=repr(error))
            self._failed = True
            return
        self._failed = False
        first, self._expiry = self._expiry is None, expiry
        if first:
            self._metrics.add_gauge(
                "public_certificate_expiry_timestamp_seconds",
                "When the certificate of PUBLIC_URL's host expires.",
                lambda: self._expiry or 0,
            )


async def read_expiry(host: str, port: int, context: ssl.SSLContext | None = None) -> float:
    """Return when the certificate of a host expires. Raises OSError or ValueError.

    Without a context any certificate is taken.
    """
    if context is None:
        # Nothing is sent, and nothing is believed but the date: an expired certificate has one,
        # too.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(LOOK_TIMEOUT):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
    finally:
        writer.transport.abort()


@asynccontextmanager
async def public_certificate(settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    """Look at the certificate from time to time in the block, where PUBLIC_URL is https."""
    url = urlsplit(settings.public_url or "")
    if url.scheme != "https" or url.hostname is None:
        yield
        return
    port = url.port or DEFAULT_PORTS[url.scheme]
    following = asyncio.create_task(PublicCertificate(url.hostname, port, metrics).follow())
    try:
        yield
    finally:
        following.cancel()
