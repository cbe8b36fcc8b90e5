"""Mails as HTML, made from their text."""

from html import escape
from typing import Final

_HTML: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{subject}</title></head>
<body>
{body}
</body>
</html>
"""


def html_mail(subject: str, text: str) -> str:
    """Return a text as HTML: a paragraph that is a URL becomes a link."""
    body = "\n".join(f"<p>{_content(paragraph)}</p>" for paragraph in text.split("\n\n"))
    return _HTML.format(subject=escape(subject), body=body)


def _content(paragraph: str) -> str:
    shown = escape(paragraph)
    is_url = paragraph.startswith(("http://", "https://")) and " " not in paragraph
    return f'<a href="{shown}">{shown}</a>' if is_url else shown
