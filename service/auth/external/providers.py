"""The external providers of one application."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import structlog

from service.auth.external import calls
from service.auth.external.calls import ProviderCalls
from service.auth.external.errors import ProviderNotFound, ProviderUnavailable
from service.auth.external.flows import FlowStart
from service.auth.external.github import GithubProvider
from service.auth.external.openid import OpenIdProvider
from service.auth.external.people import Person
from service.auth.external.secrets import FlowKey, digest_of
from service.ids import new_token
from service.settings import Settings
from service.settings.external import ExternalProvider, ProviderKind, may_return_to, origin_of

CALLBACK: Final = "/auth/external/{name}/callback"
# Seconds that the calls for one person may take together beyond those of one of them.
SLACK: Final = 0.5

log: Final = structlog.get_logger(__name__)


class Providers:
    """Begins sign-ins at providers, and asks them who a code is of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listed = settings.external_providers
        production = settings.production
        self.calls = ProviderCalls(list(self._listed), production=production)
        self._flow_key = FlowKey(settings.secret_key.get_secret_value())
        own = origin_of(settings.public_address)
        self._origins = (own, *settings.cors_origins)
        self._asked: Mapping[str, OpenIdProvider | GithubProvider] = {
            name: self._make(provider) for name, provider in self._listed.items()
        }

    def _make(self, provider: ExternalProvider) -> OpenIdProvider | GithubProvider:
        settings = self._settings
        redirect_uri = f"{settings.public_address}{CALLBACK.format(name=provider.name)}"
        if provider.kind is ProviderKind.GITHUB:
            return GithubProvider(provider, self.calls, redirect_uri)
        return OpenIdProvider(provider, self.calls, redirect_uri, production=settings.production)

    @property
    def listed(self) -> Sequence[ExternalProvider]:
        """The providers, by name."""
        return list(self._listed.values())

    def find(self, name: str) -> ExternalProvider:
        """Return a provider. Raises ProviderNotFound (404)."""
        provider = self._listed.get(name)
        if provider is None:
            raise ProviderNotFound
        return provider

    def title_of(self, name: str) -> str:
        """Return what people see of a provider, which may be configured no more."""
        provider = self._listed.get(name)
        return name if provider is None else provider.title

    def may_return_to(self, url: str) -> bool:
        """Whether people may be sent back to a URL."""
        return may_return_to(url, self._origins, self._settings.external_return_urls)

    async def begin(
        self, name: str, return_to: str, code_challenge: str
    ) -> tuple[str, str, FlowStart]:
        """Return the address to send a person to, its state, and what is to be stored.

        Raises ProviderUnavailable.
        """
        asked, state = self._asked[name], new_token()
        secrets = self._flow_key.secrets_of(digest_of(state))
        endpoint, query = await asked.begin(state, secrets)
        issuer, required = await asked.names_itself()
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return url, state, FlowStart(name, issuer, required, return_to, code_challenge)

    async def identify(self, name: str, state_digest: bytes, code: str) -> Person:
        """Return who a provider's code is of.

        Raises ProviderNotFound, ProviderRefused or ProviderUnavailable.
        """
        self.find(name)
        secrets = self._flow_key.secrets_of(state_digest)
        try:
            # Each of up to four calls may take all of its time, and a client waits for the last.
            async with asyncio.timeout(calls.SECONDS + SLACK):
                return await self._asked[name].identify(code, secrets)
        except TimeoutError:
            why = "its answers took too long together"
            log.warning("external provider unavailable", provider=name, why=why)
            raise ProviderUnavailable from None
