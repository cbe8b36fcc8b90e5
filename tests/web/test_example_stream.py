"""The example page's event stream in a real browser: one for all tabs, and always open again."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Route, expect

from tests.support.pages import EXAMPLE, Site, post, serving_files
from tests.support.polling import until
from tests.support.processes import Connection, service_process
from tests.support.proxies import balanced, read_statistics
from tests.support.streams import open_streams, write_post

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

# As many connections to a host as a browser opens over HTTP/1.1.
CONNECTIONS = 6
LIVE = "#live"


async def test_tabs_share_one_stream_and_leave_connections_for_requests(
    site: Site, browser: BrowserContext
) -> None:
    author = await site.client.sign_up()
    first = await write_post(author)
    tabs = [await site.open(browser) for _ in range(CONNECTIONS + 2)]
    assert open_streams(site.client.app) == 1
    for tab in tabs:
        await expect(post(tab, first["title"])).to_have_count(1)
    await tabs[0].close()
    await author.post("/api/posts", {"title": "Second", "content": "Words"})
    for tab in tabs[1:]:
        await expect(post(tab, "Second")).to_have_count(1)
    for tab in tabs[1:]:
        await tab.close()

    async def has_ended() -> bool:
        return open_streams(site.client.app) == 0

    await until(has_ended)


async def test_page_without_shared_workers_reopens_its_stream_after_each_status(
    site: Site, browser: BrowserContext
) -> None:
    author = await site.client.sign_up()
    await browser.add_init_script("delete globalThis.SharedWorker")
    tab = await browser.new_page()
    refusals = [503, 429]

    async def refuse(route: Route) -> None:
        if not refusals:
            # What is written before the stream is open is not in it.
            await author.post("/api/posts", {"title": "Missed", "content": "Words"})
            await route.continue_()
        else:
            await route.fulfill(status=refusals.pop())

    await tab.route("**/api/posts/stream", refuse)
    await tab.goto(f"{site.page}/?api={site.api}")
    await expect(tab.locator(LIVE)).to_have_text("live")
    await expect(post(tab, "Missed")).to_have_count(1)
    await author.post("/api/posts", {"title": "Streamed", "content": "Words"})
    await expect(post(tab, "Streamed")).to_have_count(1)


async def test_tabs_follow_again_after_the_service_restarted_behind_a_balancer(
    browser: BrowserContext, database_url: str, tmp_path: Path
) -> None:
    with serving_files(EXAMPLE) as page_port:
        page = f"http://localhost:{page_port}"
        async with (
            service_process(database_url, tmp_path, cors_origins=page) as service,
            balanced(tmp_path, service) as (port, statistics),
        ):

            async def refused() -> int:
                (http,) = (
                    row
                    for row in await read_statistics(statistics)
                    if (row["pxname"], row["svname"]) == ("http", "FRONTEND")
                )
                return int(http["hrsp_5xx"])

            async def refused_again() -> bool:
                return await refused() >= 2

            tabs = []
            for _ in range(2):
                tabs.append(await browser.new_page())
                await tabs[-1].goto(f"{page}/?api=http://localhost:{port}")
                await expect(tabs[-1].locator(LIVE)).to_have_text("live")
            await service.kill()
            # The balancer's 503 ends an EventSource for good: each further one is a new one's.
            await until(refused_again)
            for tab in tabs:
                await expect(tab.locator(LIVE)).not_to_have_text("live")
            await service.start()
            async with Connection(service.port) as author:
                await author.sign_up("ada")
                written = {"title": "Meanwhile", "content": "Words"}
                assert (await author.request("POST", "/api/posts", written)).status == 201
                for tab in tabs:
                    await expect(tab.locator(LIVE)).to_have_text("live", timeout=60_000)
                    await expect(post(tab, "Meanwhile")).to_have_count(1)
                written["title"] = "Streamed"
                assert (await author.request("POST", "/api/posts", written)).status == 201
                for tab in tabs:
                    await expect(post(tab, "Streamed")).to_have_count(1)
