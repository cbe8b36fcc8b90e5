"""GitHub, which speaks OAuth 2 and has an API of its own for who somebody is."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from service.auth.external.calls import Call, ProviderCalls
from service.auth.external.errors import ProviderRefused, ProviderUnavailable
from service.auth.external.people import Person, make_person
from service.auth.external.secrets import FlowSecrets
from service.settings.external import ExternalProvider

# GitHub names itself so in answers, if at all (RFC 9207).
_ISSUER_PATH: Final = "/login/oauth"


class GithubProvider:
    """Asks GitHub, or a server of GitHub Enterprise."""

    def __init__(self, provider: ExternalProvider, calls: ProviderCalls, redirect_uri: str) -> None:
        self._provider = provider
        self._calls = calls
        self._redirect_uri = redirect_uri
        self._oauth = f"{provider.issuer.rstrip('/')}{_ISSUER_PATH}"

    async def begin(self, state: str, secrets: FlowSecrets) -> tuple[str, Mapping[str, str]]:
        """Return where a person is sent, and the query."""
        query = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._provider.scopes,
            "state": state,
            "code_challenge": secrets.challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._oauth}/authorize", query

    async def names_itself(self) -> tuple[str, bool]:
        """Return the issuer that answers may name, and whether they must."""
        return self._oauth, False

    async def identify(self, code: str, secrets: FlowSecrets) -> Person:
        """Return who a code is of. Raises ProviderRefused or ProviderUnavailable."""
        access_token = await self._exchange(code, secrets)
        user = await self._ask("/user", access_token)
        number = user.get("id") if isinstance(user, dict) else None
        if isinstance(number, bool) or not isinstance(number, int):
            raise ProviderUnavailable
        emails = await self._ask("/user/emails", access_token)
        return make_person(
            self._provider.name,
            self._provider.issuer,
            str(number),
            email=_primary(emails),
            vouched=True,
            name=user.get("name") or user.get("login"),
        )

    async def _exchange(self, code: str, secrets: FlowSecrets) -> str:
        form = {
            "client_id": self._provider.client_id,
            "client_secret": self._provider.client_secret.get_secret_value(),
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": secrets.verifier,
        }
        url = f"{self._oauth}/access_token"
        answer = await self._calls.fetch(Call(self._provider.name, url, form))
        # A refusal has the status 200.
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or quote(token, safe="-._~+/=") != token:
            raise ProviderRefused
        return token

    async def _ask(self, path: str, access_token: str) -> Any:
        url = f"{self._provider.api_url.rstrip('/')}{path}"
        headers = {
            "Authorization": f"Bearer {access_token}",
            "Accept": "application/vnd.github+json",
        }
        return await self._calls.fetch(Call(self._provider.name, url, headers=headers))


def _primary(emails: object) -> str | None:
    """Return the primary address if it is verified; the profile's may be anybody's."""
    for item in emails if isinstance(emails, list) else []:
        if isinstance(item, dict) and item.get("primary") is True and item.get("verified") is True:
            email = item.get("email")
            return email if isinstance(email, str) else None
    return None
