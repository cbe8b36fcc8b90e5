"""The operators' console by the rules of axe-core: light, dark, and on a telephone."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.support.clients.tools import install_npm_package
from tests.support.console import Console, button, heading, sign_in
from tests.support.second_factor import turn_on

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

PACKAGE = "axe-core@4.14.1"
PHONE = {"width": 320, "height": 568}
DESK = {"width": 1280, "height": 900}
# In a world of its own, which the page's policy does not govern.
RUN = """axe.run(document, {resultTypes: ["violations"]}).then(({violations, passes}) => ({
    rules: passes.length,
    violations: violations.map(({id, nodes: [at]}) => `${id}: ${at.html}: ${at.failureSummary}`),
}))"""


class Axe:
    """The rules, brought into a tab."""

    def __init__(self, source: str, tab: Page) -> None:
        self.source = source
        self.tab = tab

    async def check(self) -> dict[str, Any]:
        """What it finds on the page as it stands."""
        session = await self.tab.context.new_cdp_session(self.tab)
        tree = await session.send("Page.getFrameTree")
        world = await session.send(
            "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]}
        )
        place = {"contextId": world["executionContextId"], "returnByValue": True}
        await session.send("Runtime.evaluate", {"expression": self.source + ";0", **place})
        answer = await session.send(
            "Runtime.evaluate", {"expression": RUN, "awaitPromise": True, **place}
        )
        await session.detach()
        assert "exceptionDetails" not in answer, answer
        found: dict[str, Any] = answer["result"]["value"]
        return found

    async def check_all(self) -> list[str]:
        """The violations in light and dark, on a desk and on a telephone, and what overflows."""
        found: list[str] = []
        for scheme in ("light", "dark"):
            await self.tab.emulate_media(color_scheme=scheme)
            for size in (DESK, PHONE):
                await self.tab.set_viewport_size(size)  # type: ignore[arg-type]
                result = await self.check()
                assert result["rules"] > 10
                found += [f"{scheme}, {size['width']}: {text}" for text in result["violations"]]
                width = await self.tab.evaluate("document.documentElement.scrollWidth")
                found += [f"{width} wide"] if width > size["width"] else []
        return found


async def test_no_view_of_the_console_breaks_a_rule_of_accessibility(
    console: Console, browser: BrowserContext, db: asyncpg.Connection, tmp_path: Path,
    complaints: list[str],
) -> None:  # fmt: skip
    await install_npm_package(PACKAGE, tmp_path)
    source = (tmp_path / "node_modules" / "axe-core" / "axe.min.js").read_text()
    ada = await console.operator()
    bob = await console.client.sign_up(f"{'b' * 60}@example.com", username="b" * 80)
    title = "W" * 200
    post = (await bob.post("/api/posts", {"title": title, "content": "W" * 500})).json
    await db.execute(
        "INSERT INTO pgqueuer (priority, status, entrypoint, attempts) "
        "VALUES (0, 'failed', 'mail link', 3)"
    )
    tab = await console.open(browser)
    axe = Axe(source, tab)
    await expect(button(tab, "Sign in with a passkey")).to_be_visible()
    found = {"sign in": await axe.check_all()}
    await sign_in(tab)
    views = {
        "state": "State", "users": "Users", "events": "Events", "posts": "Posts", "jobs": "Jobs",
        f"users/{bob.user['id']}": "b" * 80, f"posts/{post['id']}": title,
    }  # fmt: skip
    for view, name in views.items():
        await tab.goto(f"{console.url}/console#/{view}")
        await expect(heading(tab, name)).to_be_visible()
        await expect(tab.get_by_text("Loading …")).to_have_count(0)
        found[view] = await axe.check_all()
    await tab.goto(f"{console.url}/console#/users/{bob.user['id']}")
    await button(tab, "Disable the account").click()
    found["dialog"] = await axe.check_all()
    await button(tab.get_by_role("dialog"), "Disable the account").click()
    await expect(button(tab, "Enable the account")).to_be_visible()
    found["done"] = await axe.check_all()
    await button(tab, "Sign out").click()
    await turn_on(ada)
    await sign_in(tab)
    await expect(tab.get_by_role("dialog", name="Second factor")).to_be_visible()
    found["second factor"] = await axe.check_all()
    await tab.keyboard.press("Escape")
    await console.client.sign_up("carol@example.com")
    await sign_in(tab, "carol@example.com")
    await expect(heading(tab, "Not for this account")).to_be_visible()
    found["refused"] = await axe.check_all()
    assert {view: texts for view, texts in found.items() if texts} == {}
