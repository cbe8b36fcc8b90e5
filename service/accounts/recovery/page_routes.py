"""The two pages that mailed links lead to, for services without a front end.

They work without scripts. Only the button posts the token, so that a mail scanner that follows
links does not spend it. A front end at PUBLIC_URL may take their place.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import ValidationError
from quart import Blueprint, Response, request
from quart_schema import DataSource, document_querystring, document_request

from service.accounts.recovery import html, recovery
from service.accounts.recovery.routes import replace_password
from service.accounts.recovery.schemas import LinkToken, PasswordReset
from service.errors import BadRequest, refusals
from service.web.client import origin
from service.web.db_session import db_session
from service.web.limiter import DEFAULT
from service.web.openapi import Header, answers
from service.web.ratelimit import limit

blueprint: Final = Blueprint("pages", __name__)

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src '{html.STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # The URL has the token.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HTML: Final = "text/html"
_PAGE_HEADERS: Final = (Header("Content-Security-Policy", "Nothing but the page itself."),)

Route = TypeVar("Route", bound=Callable[..., object])


def _answers_page(route: Route) -> Route:
    """Declare the responses of every page."""
    for status, words in ((400, "The page, saying what is wrong."), (200, "The page.")):
        route = answers(status, media_type=_HTML, headers=_PAGE_HEADERS, description=words)(route)
    return route


VERIFY: Final = "Confirm your email address"
RESET: Final = "Choose a new password"
INCOMPLETE: Final = "The link is incomplete: please copy it whole from the mail."


def _page(title: str, content: str, status: int = 200) -> Response:
    text = html.page(title, content)
    return Response(text, status, _HEADERS, content_type=f"{_HTML}; charset=utf-8")


def _form_page(title: str, action: str, content: str) -> Response:
    """Return a page with a form that posts the URL's token, or 400 without a well-formed one."""
    try:
        token = LinkToken.model_validate(request.args.to_dict()).token
    except ValidationError:
        return _page(title, html.alert(INCOMPLETE), 400)
    return _page(title, html.form(action, token, content))


@blueprint.get("/verify-email")
@limit(DEFAULT)
@document_querystring(LinkToken)
@_answers_page
async def read_verification_page() -> Response:
    """Open the page that verifies an address."""
    return _form_page(VERIFY, "verify-email", "<button>Confirm</button>")


@blueprint.post("/verify-email")
@limit(DEFAULT)
@document_request(LinkToken, source=DataSource.FORM)
@_answers_page
async def submit_verification_page() -> Response:
    """Verify an address with the page's form."""
    try:
        data = LinkToken.model_validate((await request.form).to_dict())
        await recovery.verify_email(db_session(), data.token, origin())
    except (BadRequest, ValidationError) as error:
        return _failed(VERIFY, error)
    return _page(VERIFY, "<p>Thank you: your email address is confirmed.</p>")


@blueprint.get("/reset-password")
@limit(DEFAULT)
@document_querystring(LinkToken)
@_answers_page
async def read_reset_page() -> Response:
    """Open the page that resets a password."""
    return _form_page(RESET, "reset-password", html.NEW_PASSWORD)


@blueprint.post("/reset-password")
@limit(DEFAULT)
@document_request(PasswordReset, source=DataSource.FORM)
@_answers_page
async def submit_reset_page() -> Response:
    """Set a new password with the page's form."""
    form = (await request.form).to_dict()
    try:
        await replace_password(PasswordReset.model_validate(form))
    except (BadRequest, ValidationError) as error:
        # Only a refused password can be entered again; a refused link cannot.
        again = html.form("reset-password", form.get("token", ""), html.NEW_PASSWORD)
        return _failed(RESET, error, again if "password" in refusals(error) else "")
    return _page(RESET, "<p>Your password is changed. Please sign in with it.</p>")


def _failed(title: str, error: BadRequest | ValidationError, content: str = "") -> Response:
    refused = refusals(error)
    if "password" in refused:
        message = f"Please choose another password: it {'; '.join(refused['password'])}."
    elif isinstance(error, BadRequest):
        message = f"{error.message}."
    else:
        message = INCOMPLETE
    return _page(title, f"{html.alert(message)}\n{content}", 400)
