"""The operators' console: what its page is made of and what it lets in."""

import re

import pytest

from service.audit.events import Kind
from service.settings import PROJECT
from tests.support.client import Client

FOLDER = PROJECT / "service" / "web" / "console"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".html"})
# Files of the page, as other files and the page itself name them.
IMPORT = re.compile(r'^import [^;]+ from "\./([\w-]+\.js)";$', re.MULTILINE)


async def addresses(client: Client) -> list[str]:
    page = (await client.get("/console")).body.decode()
    return re.findall(r'(?:src|href)="(/console/assets/[^"]+)"', page)


async def test_console_is_a_page_for_nobody_in_particular(client: Client) -> None:
    page = await client.get("/console", token="not a token")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["X-Robots-Tag"] == "noindex"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in page.headers


async def test_console_runs_nothing_but_its_own_files_and_in_no_frame(client: Client) -> None:
    page = await client.get("/console")
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    assert {"connect-src 'self'", "base-uri 'none'", "form-action 'none'"} <= set(policy)
    assert {"frame-ancestors 'none'", "require-trusted-types-for 'script'"} <= set(policy)
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script>|<style|\s(?:on\w+|style)=", page.body.decode())


async def test_console_s_files_are_kept_and_have_validators(client: Client) -> None:
    found = await addresses(client)
    assert {address.rpartition("/")[2] for address in found} == {
        path.name for path in FILES if path.suffix != ".html"
    }
    for address in sorted(set(found)):
        file = await client.get(address)
        assert file.status == 200
        assert file.headers["Content-Type"].startswith(
            "text/css" if address.endswith(".css") else "text/javascript"
        )
        assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        again = await client.get(address, headers={"If-None-Match": file.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "address",
    ["{folder}/nothing.js", "{folder}/page.html", "{folder}/..%2Froutes.py", "0123/console.js"],
)
async def test_only_the_console_s_own_files_are_served(client: Client, address: str) -> None:
    folder = (await addresses(client))[0].split("/")[3]
    answer = await client.get(f"/console/assets/{address.format(folder=folder)}")
    assert (answer.status, answer.json["message"]) == (404, "Not found")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_of_the_console_names_another_host_or_parses_markup(path: object) -> None:
    text = (FOLDER / str(path)).read_text()
    assert not re.search(r"(?:https?:)?//[\w-]+\.\w", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_nothing_in_the_console_moves() -> None:
    style = (FOLDER / "page.css").read_text()
    assert not re.search(r"transition|animation|@keyframes|scroll-behavior", style)


def test_every_module_of_the_console_is_used_and_imports_what_there_is() -> None:
    names = {path.name for path in FILES if path.suffix == ".js"}
    imported = {name for path in FILES for name in IMPORT.findall(path.read_text())}
    assert imported == names - {"console.js"}


def test_console_names_every_kind_of_event() -> None:
    text = (FOLDER / "kinds.js").read_text()
    named = re.findall(r'^  "([\w.]+)": "[^"]+",$', text, re.MULTILINE)
    assert set(named) == {str(kind) for kind in Kind}
    assert len(named) == len(set(named))
