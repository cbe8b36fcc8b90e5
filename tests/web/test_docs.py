"""The page where every call can be tried: what it is made of and what it lets in."""

import re

import pytest

from tests.support.client import Client


async def test_docs_page_names_files_that_exist(client: Client) -> None:
    page = await client.get("/docs")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    names = re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', page.body.decode())
    assert len(names) == 5
    for name in names:
        asset = await client.get(name)
        assert asset.status == 200
        assert asset.body
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert asset.headers["X-Content-Type-Options"] == "nosniff"


async def test_docs_page_s_policy_allows_only_its_own_files(client: Client) -> None:
    page = await client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    text = page.body.decode()
    assert "http" not in text
    assert not re.search(r"<script>|<style|\son\w+=", text)


@pytest.mark.parametrize(
    "name", ["swagger-ui-bundle.js", "nothing.js", "..%2Froutes.py", "page.html"]
)
async def test_only_the_docs_page_s_own_files_are_served(client: Client, name: str) -> None:
    answer = await client.get(f"/docs/assets/{name}")
    assert (answer.status, answer.json["message"]) == (404, "Not found")


async def test_favicon_is_the_page_s_icon(client: Client) -> None:
    page = (await client.get("/docs")).body.decode()
    (name,) = re.findall(r'rel="icon" type="image/png" href="([^"]+)"', page)
    answer = await client.get("/favicon.ico")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.body == (await client.get(name)).body
    assert answer.headers["Cache-Control"] == "public, max-age=86400"


async def test_docs_page_needs_no_login(client: Client) -> None:
    for path in ("/docs", "/openapi.json"):
        assert (await client.get(path, token="not a token")).status == 200


async def test_docs_page_keeps_no_api_key(client: Client) -> None:
    page = (await client.get("/docs")).body.decode()
    [script] = re.findall(r'src="(/docs/assets/start[^"]+)"', page)
    text = (await client.get(script)).body.decode()
    assert "delete kept.apiKey" in text
    assert "wrapActions: { persistAuthorizationIfNeeded: keepLogins }" in text
