"""Forgotten passwords and the verification of addresses, under /auth."""

from typing import Final

from quart import Blueprint, Response

from service.accounts.recovery import links, recovery
from service.accounts.recovery.links import InvalidLink, Purpose
from service.accounts.recovery.schemas import LinkToken, MailRequested, PasswordReset, ResetRequest
from service.auth.guards import login_required
from service.auth.password_policy import refuse_names
from service.auth.principal import caller, passwords
from service.canonical import email_key
from service.web.client import origin
from service.web.db_session import db_session, release
from service.web.limiter import DEFAULT
from service.web.openapi import answers
from service.web.ratelimit import limit, try_hit
from service.web.responses import json_response, no_content
from service.web.validation import validate_request

blueprint: Final = Blueprint("recovery", __name__, url_prefix="/auth")


@blueprint.post("/password/forgot")
@limit(DEFAULT)
@validate_request(ResetRequest)
@answers(202, MailRequested)
async def forgot_password(data: ResetRequest) -> Response:
    """Request a link by mail to reset the password; the response is the same for any address.

    The mail of an account whose email was changed, and is not verified since, goes to the last
    verified one.
    """
    # Beyond the limit no mail is sent, with the same response.
    if await try_hit("MAIL", email_key(data.email)):
        await links.request_reset(db_session(), data.email)
    return json_response(
        {"message": "If an account has this address, a mail is on its way to it"}, 202
    )


@blueprint.post("/password/reset")
@limit(DEFAULT)
@validate_request(PasswordReset)
@answers(204, errors=[InvalidLink])
async def reset_password(data: PasswordReset) -> Response:
    """Set a new password with the token of a mailed link, which ends all sessions."""
    await replace_password(data)
    return no_content()


async def replace_password(data: PasswordReset) -> None:
    """Reset a password. Raises InvalidLink, or BadRequest for the account's email or username."""
    account = await links.find_account(db_session(), Purpose.RESET_PASSWORD, data.token)
    await release()
    refuse_names(data.password, email=account.email, username=account.username)
    password_hash = await passwords().hash(data.password)
    await recovery.reset_password(db_session(), data.token, password_hash, origin())


@blueprint.post("/email/verify")
@limit(DEFAULT)
@validate_request(LinkToken)
@answers(204, errors=[InvalidLink])
async def verify_email(data: LinkToken) -> Response:
    """Verify the account's address with the token of a mailed link."""
    await recovery.verify_email(db_session(), data.token, origin())
    return no_content()


@blueprint.post("/email/verify/resend")
@limit(DEFAULT)
@login_required
@answers(202, MailRequested)
async def resend_verification() -> Response:
    """Request another mail to verify the address, unless it is verified."""
    account = caller().account
    if not account.email_verified and await try_hit("MAIL", email_key(account.email)):
        await links.mail_link(db_session(), Purpose.VERIFY_EMAIL, account.id, account.email)
    return json_response({"message": "Unless the address is verified, a mail is on its way"}, 202)
