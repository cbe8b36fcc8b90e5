"""PUBLIC_URL as clients reach it: the answers are this service's, by TLS, and show no metrics."""

from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import httpx2

from service.doctor import certificates
from service.doctor.findings import Deployment, Findings
from service.doctor.http import HTTP_ERRORS, Answer, ask, new_client, reason_of
from service.ids import new_id_text
from service.settings.types import DEFAULT_PORTS

_ADVICE: Final = "see that the service runs, that its proxy leads to it, and PUBLIC_URL"
# One of the metrics, whose absence shows that /metrics is somebody else's page.
_METRIC: Final = b"http_requests_total"
_MESSAGE_MAX: Final = 200  # characters


async def check(deployment: Deployment, found: Findings) -> None:
    """Ask the service as a client does."""
    url = deployment.settings.public_url
    if url is None:
        found.skipped("PUBLIC_URL is unset")
        return
    secure = url.startswith("https:")
    trusting = secure and not await _check_certificate(url, found)
    try:
        # An untrusted certificate was found already; the rest is worth as much.
        async with new_client(trusting=trusting) as client:
            answer = await _check_readiness(client, url, found)
            if answer is None:
                return
            await _check_version(client, url, found)
            await check_metrics(client, url, found)
            if secure:
                _check_hsts(answer, found)
                await check_redirect(client, url, found)
    except HTTP_ERRORS as error:
        found.problem(f"PUBLIC_URL does not answer: {reason_of(error)}", _ADVICE)


async def _check_certificate(url: str, found: Findings) -> bool:
    """Look at the certificate; return whether it is trusted, or cannot be seen."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        certificate = await certificates.look(host, parts.port or DEFAULT_PORTS["https"])
    except (OSError, ValueError):  # what is asked next says so
        return True
    advice = "get one from an authority that clients trust, with this name"
    certificates.report(found, host, certificate, advice)
    return certificate.fault is None


async def _check_readiness(client: httpx2.AsyncClient, url: str, found: Findings) -> Answer | None:
    """Return the answer, or None where it is not this service's."""
    sent = f"doctor-{new_id_text()}"
    answer = await ask(client, f"{url}/health/ready", headers={"X-Request-ID": sent})
    message = answer.member("message")
    if answer.status == 200 and answer.member("status") == "ok":
        found.ok("PUBLIC_URL leads to a service that is ready")
    elif answer.status == 503 and isinstance(message, str):
        found.problem(f"the service is not ready: {_shown(message)}", "see the other findings")
    else:
        found.problem(
            f"what answers at PUBLIC_URL is not this service (status {answer.status} for "
            "/health/ready)",
            _ADVICE,
        )
        return None
    if answer.headers.get("x-request-id") != sent:
        found.warning(
            "X-Request-ID does not come back: requests can't be followed through the proxy",
            "let the proxy pass X-Request-ID on, both ways",
        )
    return answer


async def _check_version(client: httpx2.AsyncClient, url: str, found: Findings) -> None:
    own = version("service")
    other = (await ask(client, f"{url}/openapi.json")).member("info", "version")
    if other == own:
        found.ok(f"it is version {own}, as this command")
    elif isinstance(other, str):
        found.warning(
            f"it is version {_shown(other)}, and this command {own}",
            "run the command of the release that serves",
        )
    else:
        found.warning("it shows no version in /openapi.json", "let the proxy pass /openapi.json")


async def check_metrics(client: httpx2.AsyncClient, url: str, found: Findings) -> None:
    """Look whether strangers can read the metrics."""
    answer = await ask(client, f"{url}/metrics")
    if answer.status == 200 and _METRIC in answer.body:
        found.warning(
            "everybody can read /metrics through PUBLIC_URL",
            "close the path at the proxy, and let Prometheus ask each process",
        )
    else:
        found.ok("/metrics can't be read through PUBLIC_URL")


def _check_hsts(answer: Answer, found: Findings) -> None:
    if "strict-transport-security" in answer.headers:
        found.ok("browsers come by https alone (Strict-Transport-Security)")
    else:
        found.ok(
            "there is no Strict-Transport-Security",
            "the proxy can send it, once all of the domain has https",
        )


async def check_redirect(
    client: httpx2.AsyncClient, url: str, found: Findings, port: int = DEFAULT_PORTS["http"]
) -> None:
    """Look what plain HTTP gets, at its port of the same host."""
    parts = urlsplit(url)
    if parts.port not in (None, DEFAULT_PORTS["https"]) and port == DEFAULT_PORTS["http"]:
        found.skipped("PUBLIC_URL has a port of its own: http is not looked at")
        return
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    try:
        answer = await ask(client, f"http://{host}:{port}{parts.path}/health/live")
    except HTTP_ERRORS:
        found.ok("nothing answers by http")
        return
    if answer.headers.get("location", "").startswith("https://"):
        found.ok("http is sent on to https")
    elif answer.status < 400:
        found.warning(
            "the service answers by http, too: passwords may cross the network readable",
            "let the proxy send http on to https",
        )
    else:
        found.ok(f"http gets {answer.status}")


def _shown(text: str) -> str:
    """Return a server's words as one line of bounded length."""
    return "".join(c if c.isprintable() else " " for c in text[:_MESSAGE_MAX])
