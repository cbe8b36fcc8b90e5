"""Sign-in through external providers, under /auth."""

from typing import Final
from uuid import UUID

from quart import Blueprint, Response

from service.auth.encryption.component import encryption
from service.auth.errors import (
    AccountDisabled,
    EmailUnverified,
    LastLoginMethod,
    LoginIncomplete,
    StepUpRequired,
    UnknownTransport,
)
from service.auth.external import errors, flows, identities, login, schemas
from service.auth.external.component import providers
from service.auth.external.exchange import exchange_code
from service.auth.freshness import require_fresh, require_verified_email
from service.auth.guards import login_required
from service.auth.principal import caller
from service.auth.routes import (
    OWN_ACCOUNT,
    PAIR_HEADERS,
    REFRESH,
    session_policy,
    token_response,
    wants_cookies,
)
from service.auth.schemas import show_user
from service.auth.second_factor.component import sign_in_counters
from service.auth.sign_in_metrics import LoginCount
from service.errors import BadRequest
from service.web import ratelimit
from service.web.client import client_network, origin
from service.web.db_session import autocommit, db_session, release
from service.web.limiter import DEFAULT
from service.web.openapi import Link, answers, reads_headers
from service.web.openapi.headers import TOKEN_TRANSPORT
from service.web.ratelimit import limit
from service.web.responses import json_response, no_content
from service.web.validation import validate_request

blueprint: Final = Blueprint("external", __name__, url_prefix="/auth")

UNLINK: Final = Link(
    "UnlinkIdentity",
    "unlink_identity",
    "Removes the identity.",
    {"identity_id": "$response.body#/id"},
)


@blueprint.get("/external")
@limit("BEGIN")
@answers(200, schemas.ProvidersOut)
async def list_providers() -> Response:
    """List the providers that people can sign in through."""
    listed = [{"name": one.name, "title": one.title} for one in providers().listed]
    return json_response({"providers": listed})


@blueprint.post("/external/<provider>")
@limit("BEGIN")
@validate_request(schemas.ExternalStart)
@answers(200, schemas.ExternalStarted, errors=[errors.ProviderNotFound, errors.ProviderUnavailable])
async def begin_external(provider: str, data: schemas.ExternalStart) -> Response:
    """Begin a sign-in through a provider, or the linking of an identity.

    The person comes back to `return_to` with a code, which is good for 120 seconds together with
    the verifier of `code_challenge` (RFC 7636), or with an error.
    """
    if not providers().may_return_to(data.return_to):
        raise BadRequest(errors={"return_to": ["is not allowed"]})
    providers().find(provider)
    url, state, start = await providers().begin(provider, data.return_to, data.code_challenge)
    await flows.begin_flow(autocommit(), state, start)
    return json_response({"authorization_url": url, "expires_in": flows.STATE_LIFE})


@blueprint.post("/login/external")
@limit("LOGIN")
@validate_request(schemas.ExternalCode)
@reads_headers(TOKEN_TRANSPORT, errors=[UnknownTransport])
@answers(
    200,
    schemas.ExternalLoginAnswer,
    headers=PAIR_HEADERS,
    links=[REFRESH, OWN_ACCOUNT],
    errors=[
        errors.CodeInvalid,
        errors.ProviderRefused,
        AccountDisabled,
        LoginIncomplete,
        errors.LinkRequired,
        errors.AddressUnproven,
        errors.ProviderUnavailable,
    ],
)
async def log_in_externally(data: schemas.ExternalCode) -> Response:
    """Open a session with the code of a sign-in through a provider.

    The first one of a person makes an account without a password, unless an account has the
    address (`link_required`).
    """
    by_cookie, db = wants_cookies(), autocommit()
    with LoginCount(sign_in_counters(), "external"):
        try:
            person = await exchange_code(
                db, encryption(), providers(), data.code, data.code_verifier
            )
        except errors.ProviderRefused:
            await login.record_refusal(db, origin())
            raise
        done = await login.log_in(
            login.Databases(db, db_session, release),
            person,
            session_policy(),
            origin(),
            count_registration=_count_registration,
        )
    payload = {"user": show_user(done.user), "created": done.created}
    return token_response(done.token, payload, by_cookie=by_cookie)


async def _count_registration() -> None:
    await ratelimit.enforce("REGISTER", client_network())


@blueprint.get("/identities")
@limit(DEFAULT)
@login_required
@answers(200, schemas.IdentitiesOut)
async def list_identities() -> Response:
    """List one's own identities at providers."""
    rows = await identities.list_identities(db_session(), caller().user_id)
    return json_response({"identities": [schemas.show_identity(row) for row in rows]})


@blueprint.post("/identities")
@limit(DEFAULT)
@login_required
@validate_request(schemas.ExternalCode)
@answers(200, schemas.IdentityOut, description="The identity is linked to the account already.")
@answers(
    201,
    schemas.IdentityOut,
    links=[UNLINK],
    errors=[
        errors.CodeInvalid,
        errors.ProviderRefused,
        StepUpRequired,
        EmailUnverified,
        errors.IdentityTaken,
        errors.IdentityLimit,
        errors.ProviderUnavailable,
    ],
)
async def link_identity(data: schemas.ExternalCode) -> Response:
    """Link the person of a sign-in through a provider to one's own account.

    Needs a fresh session (`step_up_required`) and a verified address (`email_unverified`).
    """
    security = await require_fresh()
    require_verified_email()
    # The provider may take its time.
    await release()
    person = await exchange_code(
        autocommit(), encryption(), providers(), data.code, data.code_verifier
    )
    title = providers().title_of(person.provider)
    row, new = await identities.link_identity(
        db_session(), security, caller().claims, person, title, origin()
    )
    location = {"Location": f"/auth/identities/{row.id}"} if new else None
    return json_response(schemas.show_identity(row), 201 if new else 200, location)


@blueprint.delete("/identities/<id:identity_id>")
@limit(DEFAULT)
@login_required
@answers(204, errors=[errors.IdentityNotFound, StepUpRequired, LastLoginMethod])
async def unlink_identity(identity_id: UUID) -> Response:
    """Unlink one of one's own identities, unless nobody could sign in any more.

    Needs a fresh session (`step_up_required`).
    """
    row = await identities.require_identity(db_session(), caller().user_id, identity_id)
    await require_fresh()
    title = providers().title_of(row.provider)
    await identities.unlink_identity(db_session(), caller().claims, identity_id, title, origin())
    return no_content()
