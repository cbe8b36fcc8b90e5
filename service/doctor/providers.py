"""The external providers."""

import asyncio
from typing import Final

from service.auth.external.calls import Call
from service.auth.external.errors import ProviderRefused, ProviderUnavailable
from service.auth.external.providers import Providers
from service.doctor.findings import Deployment, Findings
from service.settings.external import ExternalProvider, ProviderKind

_ADVICE: Final = "see that this machine reaches it, and EXTERNAL_{}_ISSUER"


async def check(deployment: Deployment, found: Findings) -> None:
    """Look whether each provider answers and is who its issuer says."""
    providers = Providers(deployment.settings)
    if not providers.listed:
        found.skipped("no external provider is configured")
        return
    try:
        answers = await asyncio.gather(*(_answers(providers, each) for each in providers.listed))
    finally:
        await providers.calls.close()
    for provider, answers_well in zip(providers.listed, answers, strict=True):
        if answers_well:
            found.ok(f"{provider.title} answers")
        else:
            found.problem(
                f"{provider.title} does not answer as a provider does: nobody signs in there",
                _ADVICE.format(provider.name.upper()),
            )


async def _answers(providers: Providers, provider: ExternalProvider) -> bool:
    try:
        if provider.kind is ProviderKind.GITHUB:
            # It has no discovery; what it refuses, it has answered.
            await providers.calls.fetch(Call(provider.name, f"{provider.api_url}/meta"))
        else:
            await providers.begin(provider.name, "", "")
    except ProviderRefused:
        return True
    except ProviderUnavailable:
        return False
    return True
