"""The exchange of the service's own code for who the provider says somebody is."""

from service.auth.encryption.encryption import Encryption
from service.auth.external import flows
from service.auth.external.errors import ProviderNotFound, ProviderRefused, ProviderUnavailable
from service.auth.external.people import Person
from service.auth.external.providers import Providers
from service.db.autocommit import Autocommit


async def exchange_code(
    db: Autocommit, encryption: Encryption, providers: Providers, code: str, verifier: str
) -> Person:
    """Return who a code is of, which is spent by it; no connection is held meanwhile.

    Raises CodeInvalid (400), ProviderRefused (401), or ProviderUnavailable (503), after which the
    code is as good as before.
    """
    claimed = await flows.claim_code(db, encryption, code, verifier)
    try:
        person = await providers.identify(
            claimed.provider, claimed.state_digest, claimed.provider_code
        )
    except ProviderUnavailable:
        await flows.give_back(db, claimed.state_digest)
        raise
    except (ProviderNotFound, ProviderRefused):
        await flows.forget_flow(db, claimed.state_digest)
        raise ProviderRefused from None
    await flows.forget_flow(db, claimed.state_digest)
    return person
