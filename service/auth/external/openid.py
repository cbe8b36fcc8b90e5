"""A provider that speaks OpenID Connect: the authorization code flow with PKCE."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote, quote_plus

from service import clock
from service.auth.external import id_tokens
from service.auth.external.cache import Cached
from service.auth.external.calls import Call, ProviderCalls
from service.auth.external.errors import ProviderRefused
from service.auth.external.metadata import Key, Metadata, read_keys, read_metadata
from service.auth.external.people import Person, is_true, make_person
from service.auth.external.secrets import FlowSecrets
from service.settings.external import ExternalProvider, ProviderKind

METADATA_LIFE: Final = timedelta(hours=24)
KEYS_LIFE: Final = timedelta(hours=1)
# For which old keys serve while the provider is away.
KEYS_STALE: Final = timedelta(hours=24)
RENEWAL_PAUSE: Final = timedelta(minutes=1)
_PERSONAL_ACCOUNTS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"


class OpenIdProvider:
    """Asks one OpenID provider, and keeps its metadata and its keys."""

    def __init__(
        self,
        provider: ExternalProvider,
        calls: ProviderCalls,
        redirect_uri: str,
        *,
        production: bool,
    ) -> None:
        self._provider = provider
        self._calls = calls
        self._redirect_uri = redirect_uri
        self._production = production
        self._metadata = Cached(self._fetch_metadata, METADATA_LIFE, METADATA_LIFE)
        self._keys = Cached(self._fetch_keys, KEYS_LIFE, KEYS_STALE)

    async def begin(self, state: str, secrets: FlowSecrets) -> tuple[str, Mapping[str, str]]:
        """Return where a person is sent, and the query. Raises ProviderUnavailable."""
        metadata = await self._metadata.get()
        query = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._provider.scopes,
            "state": state,
            "nonce": secrets.nonce,
            "code_challenge": secrets.challenge,
            "code_challenge_method": "S256",
        }
        return metadata.authorization_endpoint, query

    async def names_itself(self) -> tuple[str, bool]:
        """Return the issuer that answers may name, and whether they must (RFC 9207)."""
        metadata = await self._metadata.get()
        return metadata.issuer, metadata.issuer_in_answers

    async def identify(self, code: str, secrets: FlowSecrets) -> Person:
        """Return who a code is of. Raises ProviderRefused or ProviderUnavailable."""
        metadata = await self._metadata.get()
        # Before the provider's code is spent: without keys it would be spent for nothing.
        await self._keys.get()
        answer = await self._calls.fetch(self._token_call(metadata, code, secrets))
        if not isinstance(answer, dict):
            raise ProviderRefused
        claims = await self._verify(metadata, answer.get("id_token"), secrets.nonce)
        if "email" not in claims and metadata.userinfo_endpoint is not None:
            more = await self._ask(metadata.userinfo_endpoint, answer.get("access_token"))
            if more.get("sub") != claims["sub"]:
                raise ProviderRefused
            claims = {**more, **claims}
        return self._person(claims)

    def _token_call(self, metadata: Metadata, code: str, secrets: FlowSecrets) -> Call:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": secrets.verifier,
        }
        client_id = self._provider.client_id
        client_secret = self._provider.client_secret.get_secret_value()
        headers = {}
        if metadata.posts_secret:
            form |= {"client_id": client_id, "client_secret": client_secret}
        else:
            # Encoded as forms are, before Base64 (RFC 6749, §2.3.1).
            pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
            headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        return Call(self._provider.name, metadata.token_endpoint, form, headers)

    async def _ask(self, url: str, access_token: object) -> Mapping[str, Any]:
        if not isinstance(access_token, str) or quote(access_token, safe="-._~+/=") != access_token:
            raise ProviderRefused
        headers = {"Authorization": f"Bearer {access_token}"}
        answer = await self._calls.fetch(Call(self._provider.name, url, headers=headers))
        if not isinstance(answer, dict):
            raise ProviderRefused
        return answer

    async def _verify(self, metadata: Metadata, token: object, nonce: str) -> Mapping[str, Any]:
        text, algorithm, kid = id_tokens.read_header(metadata, token)
        key = await self._find_key(algorithm, kid)
        claims = id_tokens.verify(text, algorithm, key)
        id_tokens.check_claims(claims, metadata, self._provider.client_id, nonce, clock.now())
        return claims

    async def _find_key(self, algorithm: str, kid: str | None) -> Key:
        try:
            return id_tokens.choose_key(await self._keys.get(), algorithm, kid)
        except id_tokens.UnknownKey:
            # The provider may have new keys.
            renewed = await self._keys.renew(RENEWAL_PAUSE)
        try:
            return id_tokens.choose_key(renewed or (), algorithm, kid)
        except id_tokens.UnknownKey:
            raise ProviderRefused from None

    def _person(self, claims: Mapping[str, Any]) -> Person:
        if self._provider.kind is ProviderKind.MICROSOFT:
            # An administrator of a tenant writes any address into `email`.
            personal = claims.get("tid") == _PERSONAL_ACCOUNTS
            domain_owned = claims.get("xms_edov")
            vouched = personal or is_true(domain_owned) or domain_owned in (1, "1")
        else:
            vouched = is_true(claims.get("email_verified"))
        return make_person(
            self._provider.name,
            claims["iss"],
            claims["sub"],
            email=claims.get("email"),
            vouched=vouched,
            name=claims.get("name"),
        )

    async def _fetch_metadata(self) -> Metadata:
        url = f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._calls.fetch(Call(self._provider.name, url))
        return read_metadata(self._provider, found, production=self._production)

    async def _fetch_keys(self) -> Sequence[Key]:
        metadata = await self._metadata.get()
        return read_keys(await self._calls.fetch(Call(self._provider.name, metadata.jwks_uri)))
