"""The operators' console in a real browser: events, posts, jobs and the state of the service."""

import json

import asyncpg
import pytest
from playwright.async_api import BrowserContext, Route, expect

from tests.support.console import Console, button, do, heading, message, sign_in

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

SECONDS = 5_000  # between two looks for new events, in milliseconds


async def test_events_are_filtered_and_new_ones_come_by_themselves_unless_switched_off(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    bob = await console.client.sign_up("bob@example.com", username="bob")
    tab = await console.open(browser, "#/events")
    await tab.clock.install()
    await sign_in(tab)
    table = tab.get_by_role("table", name="Events, the newest first")
    await expect(table.get_by_role("row", name="registered")).to_have_count(2)
    await tab.get_by_label("Kind").select_option("login.failed")
    await tab.get_by_label("Id of the account").fill(bob.user["id"])
    await button(tab, "Show").click()
    await expect(tab.get_by_role("status").filter(has_text="There is no event.")).to_be_visible()
    assert tab.url.endswith(f"#/events?kind=login.failed&user={bob.user['id']}")

    await bob.login("bob@example.com", "not the password")
    await tab.clock.run_for(SECONDS)
    row = table.get_by_role("row", name="sign-in failed")
    await expect(row.get_by_role("link", name="bob").first).to_be_visible()
    await expect(tab.get_by_text("1 new event: sign-in failed.")).to_be_visible()
    await expect(tab.locator("[aria-live=polite]")).to_have_text("1 new event: sign-in failed.")

    await tab.get_by_role("switch", name="Show new events as they come").uncheck()
    await bob.login("bob@example.com", "not the password")
    await tab.clock.run_for(3 * SECONDS)
    await expect(row).to_have_count(1)
    await tab.get_by_role("switch", name="Show new events as they come").check()
    await expect(row).to_have_count(2)
    await row.first.get_by_role("link", name="bob").first.click()
    await expect(heading(tab, "bob")).to_be_focused()


async def test_posts_are_found_read_removed_and_restored(
    console: Console, browser: BrowserContext, db: asyncpg.Connection, complaints: list[str]
) -> None:
    ada = await console.operator()
    bob = await console.client.sign_up("bob@example.com", username="bob")
    spam = {"title": "Cheap <b>watches</b>", "content": "Buy them.\n<script>alert(1)</script>"}
    post = (await bob.post("/api/posts", spam)).json
    own = (await bob.post("/api/posts", {"title": "Regretted", "content": "words"})).json
    await bob.delete(f"/api/posts/{own['id']}")
    await ada.post("/api/posts", {"title": "Ada's", "content": "watches"})
    path = f"/api/posts/{post['id']}"
    tab = await console.enter(browser, "#/posts")
    table = tab.get_by_role("table", name="Posts, the newest first")
    await expect(table.get_by_role("rowheader")).to_have_text(["Ada's", "Regretted", spam["title"]])
    await tab.get_by_label("Words").fill("watches")
    await tab.get_by_label("Author").fill("bob")
    await tab.get_by_label("State").select_option("visible")
    await button(tab, "Show").click()
    await expect(table.get_by_role("rowheader")).to_have_text([spam["title"]])
    row = table.get_by_role("row", name="watches")
    remove, restore = f"Remove {spam['title']}", f"Restore {spam['title']}"
    await do(tab, remove, "Remove the post", f"“{spam['title']}” is removed.")
    await expect(row).to_contain_text("removed by an operator")
    await expect(button(tab, restore)).to_be_focused()
    assert (await bob.get(path)).status == 404

    await row.get_by_role("link", name=spam["title"]).click()
    await expect(heading(tab, spam["title"])).to_be_focused()
    await expect(tab).to_have_title(f"{spam['title']} – Posts – Console")
    await expect(tab.get_by_role("main")).to_contain_text("<script>alert(1)</script>")
    await do(tab, restore, "Restore the post", f"“{spam['title']}” is restored.")
    await expect(button(tab, remove)).to_be_focused()
    assert (await bob.get(path)).status == 200
    await tab.goto(f"{console.url}/console#/posts?state=deleted")
    await expect(table.get_by_role("rowheader")).to_have_text(["Regretted"])
    await expect(table).to_contain_text("deleted by its author")
    query = "SELECT kind FROM security_events WHERE actor_id = $1::uuid AND kind LIKE 'post.%'"
    assert [found["kind"] for found in await db.fetch(f"{query} ORDER BY id", ada.user["id"])] == [
        "post.removed",
        "post.restored",
    ]


async def test_title_that_is_written_from_right_to_left_does_not_turn_the_sentence(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    ada = await console.operator()
    post = (await ada.post("/api/posts", {"title": "not\u202eereh", "content": "words"})).json
    tab = await console.enter(browser, f"#/posts/{post['id']}")
    await button(tab, "Remove not\u202eereh").click()
    dialog = tab.get_by_role("dialog", name="Remove “\u2068notereh\u2069”?")
    await button(dialog, "Remove the post").click()
    await expect(message(tab)).to_have_text("“\u2068notereh\u2069” is removed.")


async def test_what_a_stranger_typed_does_not_turn_the_words_beside_it(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    await console.client.login("gro\u202e@example.com", "not the password")
    tab = await console.enter(browser, "#/events?kind=login.failed")
    row = tab.get_by_role("row", name="sign-in failed").filter(has_text="gro")
    await expect(row).to_contain_text("email: \u2068gro@example.com\u2069, reason:")


async def add_failed_job(db: asyncpg.Connection, reason: str) -> int:
    job_id: int = await db.fetchval(
        "INSERT INTO pgqueuer (priority, status, entrypoint, attempts) "
        "VALUES (0, 'failed', 'mail link', 3) RETURNING id"
    )
    await db.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) "
        "VALUES ($1, 'failed', 0, 'mail link', $2)",
        job_id,
        json.dumps({"exception_type": "Undeliverable", "exception_message": reason}),
    )
    return job_id


async def test_jobs_that_failed_are_read_with_their_reason_and_retried_one_or_all(
    console: Console, browser: BrowserContext, db: asyncpg.Connection, complaints: list[str]
) -> None:
    ada = await console.operator()
    await db.execute("DELETE FROM pgqueuer")
    jobs = [await add_failed_job(db, f"no such user {number}") for number in range(3)]
    tab = await console.enter(browser, "#/jobs")
    table = tab.get_by_role("table", name="Jobs that failed, the latest first")
    await expect(table.get_by_role("rowheader")).to_have_count(3)
    row = table.get_by_role("row", name=f"mail link {jobs[0]}", exact=False)
    await expect(row).to_contain_text("no such user 0")
    await expect(row).to_contain_text("failed for good")
    first = f"mail link {jobs[0]}"
    await do(tab, f"Retry {first}", "Retry the job", f"{first} is tried again now.")
    await expect(table.get_by_role("rowheader")).to_have_count(2)
    await expect(tab.locator(":focus")).to_have_accessible_name(f"Retry mail link {jobs[1]}")
    assert await states(db) == {jobs[0]: "queued", jobs[1]: "failed", jobs[2]: "failed"}
    await do(tab, "Retry all", "Retry all jobs", "2 jobs are tried again now.")
    await expect(tab.get_by_role("status").filter(has_text="There is no job.")).to_be_visible()
    assert set((await states(db)).values()) == {"queued"}
    await do(tab, "Retry all", "Retry all jobs", "There is no job to try again.")
    query = "SELECT count(*) FROM security_events WHERE actor_id = $1::uuid AND kind = $2"
    assert await db.fetchval(query, ada.user["id"], "job.retried") > 0


async def states(db: asyncpg.Connection) -> dict[int, str]:
    rows = await db.fetch("SELECT id, status::text FROM pgqueuer")
    return {row["id"]: row["status"] for row in rows}


async def test_state_of_the_service_is_seen_at_a_glance_and_goes_on(
    console: Console, browser: BrowserContext, db: asyncpg.Connection, complaints: list[str]
) -> None:
    await console.operator()
    await db.execute("DELETE FROM pgqueuer")
    await add_failed_job(db, "no such user")
    tab = await console.open(browser)
    await tab.clock.install()
    await sign_in(tab)
    main = tab.get_by_role("main")
    await expect(main.get_by_text("The service is ready.")).to_be_visible()
    for title in ("Checks", "Versions", "This process", "Jobs"):
        await expect(main.get_by_role("heading", level=2, name=title)).to_be_visible()
    await expect(main.get_by_text("0 of 5").or_(main.get_by_text("1 of 5"))).to_be_visible()

    async def silence_the_queue(route: Route) -> None:
        status = await (await route.fetch()).json()
        failing = {"name": "writes", "ok": False, "problem": "it is a standby"}
        changes = {"ready": False, "checks": [failing], "jobs": None}
        await route.fulfill(json=status | changes)

    await tab.route("**/admin/status", silence_the_queue)
    await tab.clock.run_for(10_000)
    await expect(main.get_by_text("The service is not ready.")).to_be_visible()
    await expect(main.get_by_text("it is a standby")).to_be_visible()
    await expect(main.get_by_text("not known: the queue is silent")).to_be_visible()
    await tab.unroute("**/admin/status")
    await tab.route("**/admin/status", lambda route: route.abort())
    await tab.clock.run_for(10_000)
    await expect(main.get_by_text("The service does not answer: trying again.")).to_be_visible()
    await expect(main.get_by_text("The service is ready.")).to_have_count(0)
    await tab.unroute("**/admin/status")
    await tab.clock.run_for(10_000)
    await expect(main.get_by_text("does not answer")).to_have_count(0)
    await main.get_by_role("link", name="1", exact=True).click()
    await expect(heading(tab, "Jobs")).to_be_focused()
    assert tab.url.endswith("#/jobs?state=failed")


async def test_state_is_asked_for_no_sooner_than_the_service_says(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.open(browser)
    await tab.clock.install()
    await sign_in(tab)
    main = tab.get_by_role("main")
    await expect(main.get_by_text("The service is ready.")).to_be_visible()
    asked: list[str] = []
    tab.on("request", lambda sent: asked.append(sent.url) if "status" in sent.url else None)
    body = '{"error": "Too Many Requests", "message": "Slow down", "code": 429}'
    refusal = {"status": 429, "headers": {"Retry-After": "42"}, "body": body}
    await tab.route("**/admin/status", lambda route: route.fulfill(**refusal))
    await tab.clock.run_for(10_000)
    await expect(main.get_by_text("Too many requests. Try again in 42 seconds.")).to_be_visible()
    await tab.unroute("**/admin/status")
    await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await tab.clock.run_for(41_000)
    assert len(asked) == 1
    await tab.clock.run_for(2_000)
    await expect(main.get_by_text("The service is ready.")).to_be_visible()
    assert len(asked) == 2


async def test_tab_that_is_not_seen_asks_for_nothing(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.open(browser, "#/events")
    await tab.clock.install()
    await sign_in(tab)
    await expect(tab.get_by_role("rowheader").first).to_be_visible()
    await tab.evaluate("Object.defineProperty(document, 'hidden', {value: true, writable: true})")
    await tab.clock.run_for(SECONDS)
    asked: list[str] = []
    tab.on("request", lambda sent: asked.append(sent.url))
    await tab.clock.run_for(10 * SECONDS)
    assert asked == []
    show = "document.hidden = false; document.dispatchEvent(new Event('visibilitychange'))"
    async with tab.expect_request("**/admin/events"):
        await tab.evaluate(show)


async def test_fault_of_the_page_is_not_taken_for_one_of_the_service(
    console: Console, browser: BrowserContext
) -> None:
    await console.operator()
    tab = await console.enter(browser)
    found: list[str] = []
    tab.on("pageerror", lambda error: found.append(error.message))
    await tab.route("**/admin/status", lambda route: route.fulfill(json={"checks": None}))
    await tab.reload()
    await expect(tab.get_by_text("This page has a fault.")).to_be_visible()
    assert len(found) == 1


async def test_address_of_no_view_leads_on(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.enter(browser, "#/nothing")
    for view in ("constructor", "__proto__", "users/..", "posts/a/b", "constructor/name"):
        await tab.evaluate("view => { location.hash = `#/${view}`; }", "users")
        await expect(heading(tab, "Users")).to_be_focused()
        await tab.evaluate("view => { location.hash = `#/${view}`; }", view)
        await expect(heading(tab, "There is no such view")).to_be_focused()
    await tab.get_by_role("link", name="To the state of the service").click()
    await expect(heading(tab, "State")).to_be_focused()
