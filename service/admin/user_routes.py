"""Accounts for operators, under /admin/users."""

from typing import Final
from uuid import UUID

from quart import Blueprint, Response

from service.accounts.accounts import LastAdmin
from service.admin import protection, users
from service.admin.acting import confirm_operator_of_accounts
from service.admin.schemas import AccountChange, AccountList, AccountOut, AccountQuery, show_account
from service.admin.users import AccountNotFound
from service.auth.errors import StepUpRequired
from service.auth.freshness import require_fresh_if_protected
from service.auth.guards import admin_required, admin_session_required, require_session
from service.web.client import origin
from service.web.db_session import db_session
from service.web.openapi import answers
from service.web.openapi.headers import LINK
from service.web.pagination import InvalidCursor, cursor_links, next_page, position
from service.web.ratelimit import limit
from service.web.responses import json_response, no_content
from service.web.validation import validate_querystring, validate_request

blueprint: Final = Blueprint("admin_users", __name__, url_prefix="/admin/users")

CURSORS: Final = "users"


@blueprint.get("")
@limit("ADMIN")
@admin_required
@validate_querystring(AccountQuery)
@answers(200, AccountList, headers=[LINK], links=[next_page("list_users")], errors=[InvalidCursor])
async def list_users(query_args: AccountQuery) -> Response:
    """List accounts, newest first."""
    after = position(CURSORS, query_args)
    page = await users.list_accounts(db_session(), query_args, after=after)
    next_cursor = page.next_cursor(CURSORS)
    payload = {"users": [show_account(row) for row in page.rows], "next_cursor": next_cursor}
    return json_response(payload, headers=cursor_links(query_args, next_cursor))


@blueprint.get("/<id:user_id>")
@limit("ADMIN")
@admin_required
@answers(200, AccountOut, errors=[AccountNotFound])
async def read_user(user_id: UUID) -> Response:
    """Read an account."""
    return json_response(show_account(await users.read_account(db_session(), user_id)))


@blueprint.patch("/<id:user_id>")
@limit("ADMIN")
@admin_required
@validate_request(AccountChange)
@answers(200, AccountOut, errors=[AccountNotFound, StepUpRequired, LastAdmin])
async def change_user(user_id: UUID, data: AccountChange) -> Response:
    """Disable or enable an account, grant or revoke administration.

    An operator with a second factor or a key needs a fresh session to grant administration.
    """
    grants = data.given().get("is_admin")
    if grants:
        require_session()
    actor_id = await confirm_operator_of_accounts(user_id)
    if grants:
        await users.read_account(db_session(), user_id)
        await require_fresh_if_protected()
    account = await users.change_account(db_session(), actor_id, user_id, data, origin())
    return json_response(show_account(account))


@blueprint.delete("/<id:user_id>/second-factor")
@limit("ADMIN")
@admin_session_required
@answers(204, errors=[AccountNotFound, StepUpRequired])
async def reset_second_factor(user_id: UUID) -> Response:
    """Turn an account's second factor off, for an owner who has lost it, and end its sessions.

    Its authenticator app, passkeys and recovery codes are gone. The owner is informed by mail. An
    operator with a second factor or a key needs a fresh session.
    """
    actor_id = await confirm_operator_of_accounts(user_id)
    await users.read_account(db_session(), user_id)
    await require_fresh_if_protected()
    await protection.reset_second_factor(db_session(), actor_id, user_id, origin())
    return no_content()


@blueprint.delete("/<id:user_id>/keys")
@limit("ADMIN")
@admin_session_required
@answers(204, errors=[AccountNotFound, StepUpRequired])
async def revoke_user_keys(user_id: UUID) -> Response:
    """Revoke all API keys of an account, whose owner is informed by mail.

    An operator with a second factor or a key needs a fresh session.
    """
    actor_id = await confirm_operator_of_accounts(user_id)
    await users.read_account(db_session(), user_id)
    await require_fresh_if_protected()
    await protection.revoke_keys(db_session(), actor_id, user_id, origin())
    return no_content()


@blueprint.delete("/<id:user_id>/sessions")
@limit("ADMIN")
@admin_required
@answers(204, errors=[AccountNotFound])
async def end_user_sessions(user_id: UUID) -> Response:
    """End all login sessions of an account, whose API keys go on."""
    actor_id = await confirm_operator_of_accounts(user_id)
    await protection.end_all_sessions(db_session(), actor_id, user_id, origin())
    return no_content()
