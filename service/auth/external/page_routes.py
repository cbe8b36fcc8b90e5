"""Where providers send people back to: from here they go on to the client that began.

It changes nothing but its own row and asks nobody, so that opening somebody else's link does
nothing.
"""

from typing import Final
from urllib.parse import urlencode

from pydantic import ValidationError
from quart import Blueprint, Response, request
from quart_schema import DataSource, document_querystring, document_request

from service.auth.encryption.component import encryption
from service.auth.external import flows
from service.auth.external.component import providers
from service.auth.external.schemas import ProviderAnswer
from service.errors import ServiceError
from service.web.db_session import autocommit
from service.web.openapi import Header, answers
from service.web.openapi.headers import LOCATION
from service.web.ratelimit import limit

blueprint: Final = Blueprint("external_pages", __name__, url_prefix="/auth")

ACCESS_DENIED: Final = "access_denied"
PROVIDER_REFUSED: Final = "provider_refused"
_HTML: Final = "text/html"
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in</title>
</head>
<body>
<main>
<h1>Sign in</h1>
<p role="alert">This sign-in is invalid, has been used or has expired. Please begin again.</p>
</main>
</body>
</html>
"""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    # The URL has a code and the state.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS: Final = (Header("Content-Security-Policy", "Nothing but the page itself."),)
_BACK: Final = answers(
    303,
    headers=[LOCATION],
    description="On to `return_to`, with `code` or `error` added to its query.",
)
_REFUSED: Final = answers(
    400,
    media_type=_HTML,
    headers=_PAGE_HEADERS,
    description="The page, saying that the sign-in is invalid.",
)


@blueprint.get("/external/<provider>/callback")
@limit("BEGIN")
@document_querystring(ProviderAnswer)
@_BACK
@_REFUSED
async def return_by_query(provider: str) -> Response:
    """Take a provider's answer from the query, and send the person on."""
    return await _answer(provider, request.args.to_dict(flat=False))


@blueprint.post("/external/<provider>/callback")
@limit("BEGIN")
@document_request(ProviderAnswer, source=DataSource.FORM)
@_BACK
@_REFUSED
async def return_by_form(provider: str) -> Response:
    """Take a provider's answer from a form (`form_post`), and send the person on."""
    return await _answer(provider, (await request.form).to_dict(flat=False))


async def _answer(provider: str, sent: dict[str, list[str]]) -> Response:
    try:
        providers().find(provider)
        # A parameter that comes twice is nobody's word (RFC 6749, §3.1).
        answer = ProviderAnswer.model_validate(
            {name: values[0] if len(values) == 1 else values for name, values in sent.items()}
        )
    except (ServiceError, ValidationError):
        return _invalid()
    if answer.code is None or answer.error is not None:
        denied = answer.error == ACCESS_DENIED
        back = await flows.end_flow(autocommit(), provider, answer.state, answer.iss)
        query = {"error": ACCESS_DENIED if denied else PROVIDER_REFUSED}
    else:
        taken = await flows.take_provider_code(
            autocommit(), encryption(), provider, answer.state, answer.iss, answer.code
        )
        back, code = taken or (None, "")
        query = {"code": code}
    return _invalid() if back is None else _send(back, query)


def _send(back: str, query: dict[str, str]) -> Response:
    url = f"{back}{'&' if '?' in back else '?'}{urlencode(query)}"
    response = Response(b"", 303, {"Location": url, "Referrer-Policy": "no-referrer"})
    response.headers.pop("Content-Type", None)
    return response


def _invalid() -> Response:
    return Response(_PAGE, 400, _HEADERS, content_type=f"{_HTML}; charset=utf-8")
