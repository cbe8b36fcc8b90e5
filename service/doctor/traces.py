"""The collector of traces."""

import os
from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote

from service.doctor.findings import Deployment, Findings
from service.doctor.http import HTTP_ERRORS, ask, new_client, reason_of

# What the extra `otel` brings.
_EXTRA: Final = "opentelemetry.exporter.otlp.proto.http"


async def check(deployment: Deployment, found: Findings) -> None:
    """Look whether the collector takes an export without spans."""
    endpoint = deployment.settings.otel_exporter_otlp_endpoint
    if not endpoint:
        found.skipped("OTEL_EXPORTER_OTLP_ENDPOINT is unset: there are no traces")
        return
    if not _is_installed():
        found.problem(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra `otel` is not installed: nothing "
            "starts",
            "install service[otel], or unset it",
        )
        return
    url = f"{endpoint.rstrip('/')}/v1/traces"
    advice = "traces are lost, and nothing else: see OTEL_EXPORTER_OTLP_ENDPOINT"
    try:
        async with new_client() as client:
            headers = {"Content-Type": "application/x-protobuf", **_own_headers()}
            answer = await ask(client, url, method="POST", headers=headers)
    except HTTP_ERRORS as error:
        found.warning(f"no collector answers at its address: {reason_of(error)}", advice)
        return
    if answer.status == 200:
        found.ok("the collector takes traces")
    else:
        found.warning(f"the collector answers {answer.status}", advice)


def _is_installed() -> bool:
    try:
        return find_spec(_EXTRA) is not None
    except ModuleNotFoundError:
        return False


def _own_headers() -> dict[str, str]:
    """Return the headers of OTEL_EXPORTER_OTLP_HEADERS, by which the collector knows the sender."""
    pairs = os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")
    named = (pair.partition("=") for pair in pairs if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in named}
