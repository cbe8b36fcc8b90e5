"""One's own second factor, under /auth: the authenticator app, and the recovery codes."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import segno
from quart import Blueprint, Response

from service.auth.encryption.component import encryption
from service.auth.errors import EmailUnverified, StepUpRequired
from service.auth.freshness import caller_security, require_fresh, require_verified_email
from service.auth.guards import login_required
from service.auth.principal import caller
from service.auth.second_factor import changes, schemas, setup, totp
from service.auth.security import fresh_until
from service.web.client import origin
from service.web.db_session import db_session, release
from service.web.limiter import DEFAULT
from service.web.openapi import answers
from service.web.ratelimit import limit
from service.web.request_state import request_state
from service.web.responses import json_response, no_content
from service.web.validation import validate_request

blueprint: Final = Blueprint("second_factor", __name__, url_prefix="/auth")

# Characters beyond which a QR code is drawn with less correction, as it is large enough already.
LONG: Final = 500


@blueprint.get("/security")
@limit(DEFAULT)
@login_required
@answers(200, schemas.SecurityOut)
async def read_security() -> Response:
    """Read what protects one's own account, and until when one's session is fresh."""
    security = await caller_security()
    app = {"created_at": security.totp_created_at, "last_used_at": security.totp_used_at}
    return json_response(
        {
            "password": security.has_password,
            "second_factor": security.second_factor_at is not None,
            "totp": app if security.totp_created_at else None,
            "recovery_codes": security.recovery_codes,
            "passkeys": security.passkeys,
            "identities": security.identities,
            "keys": security.keys,
            "fresh_until": fresh_until(security, request_state().app.settings.step_up_max_age),
        }
    )


@blueprint.post("/totp")
@limit(DEFAULT)
@login_required
@answers(201, schemas.TotpSetupOut, located=False, errors=[StepUpRequired, EmailUnverified])
async def begin_totp() -> Response:
    """Begin the set-up of an authenticator app, to be confirmed within 10 minutes.

    One that is in use stays so until then. Needs a fresh session (`step_up_required`) and a
    verified address (`email_unverified`).
    """
    await require_fresh()
    require_verified_email()
    secret = totp.new_secret()
    uri = totp.provisioning_uri(secret, issuer(), caller().account.email)
    # It takes tens of milliseconds, in which neither connection nor account should be held.
    await release()
    qr = await asyncio.to_thread(draw_qr, uri)
    expires_at = await setup.begin_setup(db_session(), encryption(), caller().claims, secret)
    shown = {"secret": totp.base32(secret), "uri": uri, "qr": qr, "expires_at": expires_at}
    return json_response(shown, 201)


@blueprint.post("/totp/confirm")
@limit(DEFAULT)
@login_required
@validate_request(schemas.TotpConfirmation)
@answers(200, schemas.RecoveryCodesOut)
async def confirm_totp(data: schemas.TotpConfirmation) -> Response:
    """Take the authenticator app into use with its first code, in the session that began it.

    When this turns the second factor on, all other sessions end. The fifth wrong code ends the
    set-up.
    """
    codes = await setup.confirm_setup(
        db_session(), encryption(), caller().claims, data.code, origin()
    )
    return json_response({"recovery_codes": codes})


@blueprint.delete("/totp")
@limit(DEFAULT)
@login_required
@answers(204, errors=[StepUpRequired])
async def remove_totp() -> Response:
    """Remove the authenticator app, which turns the second factor off unless there is a passkey.

    Needs a fresh session (`step_up_required`).
    """
    await require_fresh()
    await changes.remove_totp(db_session(), caller().claims, origin())
    return no_content()


@blueprint.put("/second-factor")
@limit(DEFAULT)
@login_required
@answers(200, schemas.RecoveryCodesOut, errors=[StepUpRequired, changes.NoFactor])
async def enable_second_factor() -> Response:
    """Turn the second factor on, which ends all other sessions.

    Needs a fresh session (`step_up_required`).
    """
    await require_fresh()
    codes = await changes.enable_again(db_session(), caller().claims, origin())
    return json_response({"recovery_codes": codes})


@blueprint.delete("/second-factor")
@limit(DEFAULT)
@login_required
@answers(204, errors=[StepUpRequired])
async def disable_second_factor() -> Response:
    """Turn the second factor off, which deletes the authenticator app and the recovery codes.

    Needs a fresh session (`step_up_required`).
    """
    await require_fresh()
    await changes.disable(db_session(), caller().claims, origin())
    return no_content()


@blueprint.post("/second-factor/recovery-codes")
@limit(DEFAULT)
@login_required
@answers(
    201, schemas.RecoveryCodesOut, located=False, errors=[StepUpRequired, changes.SecondFactorOff]
)
async def renew_recovery_codes() -> Response:
    """Make ten new recovery codes, after which the old ones are dead.

    Needs a fresh session (`step_up_required`).
    """
    await require_fresh()
    codes = await changes.renew_recovery_codes(db_session(), caller().claims, origin())
    return json_response({"recovery_codes": codes}, 201)


def issuer() -> str:
    """Return what authenticator apps show: TOTP_ISSUER, else the service's host."""
    settings = request_state().app.settings
    return settings.totp_issuer or urlsplit(settings.public_address).hostname or "service"


def draw_qr(text: str) -> str:
    """Return a QR code as a data URL, on white, so that it is read from a dark page, too."""
    level = "m" if len(text) <= LONG else "l"
    code = segno.make(text, error=level, micro=False, boost_error=False)
    return code.svg_data_uri(scale=4, dark="#000", light="#fff")
