"""The HTML of the pages, without scripts and external resources."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

_STYLE: Final = """
body { font: 1.1rem/1.5 system-ui, sans-serif; margin: 15vh auto 0; max-width: 26rem }
body { padding: 1rem }
input, button { box-sizing: border-box; font: inherit; margin: .4rem 0; padding: .6rem }
input, button { width: 100% }
[role=alert] { color: #b00020 }
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
_FORM: Final = """\
<form method="post" action="{action}">
<input type="hidden" name="token" value="{token}">
{content}
</form>"""
NEW_PASSWORD: Final = """\
<label for="password">New password, at least 8 characters</label>
<input id="password" name="password" type="password" autocomplete="new-password" \
minlength="8" maxlength="128" required autofocus>
<button>Change the password</button>"""  # noqa: S105 - a form

# For the Content-Security-Policy, which allows this style alone.
STYLE_HASH: Final = f"sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}"


def page(title: str, content: str) -> str:
    """Return a whole page."""
    return _PAGE.format(title=escape(title), style=_STYLE, content=content)


def form(action: str, token: str, content: str) -> str:
    """Return a form that posts the token to the page itself."""
    return _FORM.format(action=action, token=escape(token), content=content)


def alert(message: str) -> str:
    """Return a message of what is wrong."""
    return f'<p role="alert">{escape(message)}</p>'
