"""POST, PUT and DELETE of posts."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.support.client import Client, faults, refused

NEW = {"title": "A title", "content": "Some content"}
UNICODE = [
    "  kept as it is\n",
    "\ttabs\r\nand lines\u2028",
    "👩‍👩‍👧‍👦 \U0001d518\U0001d52b 🏳️‍🌈",
    "שלום עולם مرحبا\u202e rtl",
    "e\u0301 is not é",
    "\U0010ffff\ufffe\ue000\x01\x7f",
    "<script>alert('&amp;')</script> \\u0041 %00",
]
INVALID: list[tuple[str, Any]] = [
    ("title", None),
    ("title", ""),
    ("title", "   \n\u3000"),
    ("title", "x" * 201),
    ("title", 1),
    ("title", True),
    ("title", ["x"]),
    ("title", {"x": 1}),
    ("title", "a\0b"),
    ("title", "a\ud800b"),
    ("title", "\udc00\ud800"),
    ("content", None),
    ("content", ""),
    ("content", "\t"),
    ("content", "x" * 100_001),
    ("content", 1.5),
    ("content", "\0"),
    ("content", "\udfff"),
]


@pytest.fixture
async def ada(client: Client) -> Client:
    """The author of the posts of a test."""
    return await client.sign_up(username="ada")


async def written(client: Client, **values: Any) -> Any:
    """A new post of the client's."""
    answer = await client.post("/api/posts", NEW | values)
    assert answer.status == 201, answer.body
    return answer.json


async def test_creating_a_post_answers_it(ada: Client) -> None:
    answer = await ada.post("/api/posts", NEW)
    assert answer.status == 201
    post = answer.json
    assert {"id", "title", "content", "author", "created_at"} <= set(post)
    assert (post["title"], post["content"], post["author"]) == ("A title", "Some content", "ada")
    assert UUID(post["id"]).version == 7


async def test_location_of_a_new_post_leads_to_it(ada: Client) -> None:
    answer = await ada.post("/api/posts", NEW)
    assert answer.headers["Location"] == f"/api/posts/{answer.json['id']}"
    assert (await ada.get(answer.headers["Location"])).json == answer.json


@pytest.mark.parametrize("text", UNICODE)
async def test_post_s_text_is_returned_as_it_was_sent(member: Client, text: str) -> None:
    post = await written(member, title=text, content=text * 2)
    stored = (await member.get(f"/api/posts/{post['id']}")).json
    assert (post["title"], post["content"]) == (text, text * 2)
    assert (stored["title"], stored["content"]) == (text, text * 2)


@pytest.mark.parametrize(("field", "size"), [("title", 200), ("content", 100_000)])
async def test_text_s_length_is_counted_in_characters(
    member: Client, field: str, size: int
) -> None:
    assert len((await written(member, **{field: "🦊" * size}))[field]) == size


@pytest.mark.parametrize(("field", "value"), INVALID)
async def test_invalid_value_of_a_new_post_is_named(member: Client, field: str, value: Any) -> None:
    assert faults(await member.post("/api/posts", NEW | {field: value})) == {field}


@pytest.mark.parametrize(("field", "value"), INVALID)
async def test_invalid_value_of_a_changed_post_is_named(
    member: Client, field: str, value: Any
) -> None:
    path = f"/api/posts/{uuid4()}"
    assert faults(await member.put(path, {field: value})) == {field}


async def test_all_faults_of_a_post_are_listed_at_once(member: Client) -> None:
    assert faults(await member.post("/api/posts", {})) == {"title", "content"}


async def test_unknown_members_of_a_post_are_ignored(ada: Client) -> None:
    other = {"author": "eve", "id": str(uuid4()), "created_at": "2000-01-01T00:00:00Z", "x": [{}]}
    post = await written(ada, **other)
    assert post["author"] == "ada"
    assert post["id"] != other["id"]


@pytest.mark.parametrize(
    "change", [{"title": "New"}, {"content": "Other"}, {"title": " New ", "content": "Other\n"}]
)
async def test_put_changes_what_it_names(ada: Client, change: dict[str, str]) -> None:
    post = await written(ada)
    answer = await ada.put(f"/api/posts/{post['id']}", change)
    assert answer.status == 200
    assert {**answer.json, "updated_at": 0, "version": 0} == {
        **post,
        **change,
        "updated_at": 0,
        "version": 0,
    }
    assert (await ada.get(f"/api/posts/{post['id']}")).json == answer.json


async def test_put_of_an_empty_object_changes_nothing(ada: Client) -> None:
    post = await written(ada)
    answer = await ada.put(f"/api/posts/{post['id']}", {})
    assert (answer.status, answer.json) == (200, post)


async def test_answer_of_get_may_be_put_back(ada: Client) -> None:
    post = await written(ada)
    answer = await ada.put(f"/api/posts/{post['id']}", post)
    assert (answer.status, answer.json["title"]) == (200, post["title"])


async def test_refused_put_changes_nothing(ada: Client) -> None:
    post = await written(ada)
    await ada.put(f"/api/posts/{post['id']}", {"title": "New", "content": None})
    assert (await ada.get(f"/api/posts/{post['id']}")).json == post


async def test_delete_answers_204_and_the_post_is_gone(ada: Client) -> None:
    path = f"/api/posts/{(await written(ada))['id']}"
    answer = await ada.delete(path)
    assert (answer.status, answer.body) == (204, b"")
    for gone in (ada.get(path), ada.put(path, {}), ada.delete(path)):
        refused(await gone, 404, "Post not found")


@pytest.mark.parametrize(("method", "body"), [("PUT", {"title": "Mine"}), ("DELETE", {})])
async def test_only_the_author_may_change_or_delete_a_post(
    client: Client, ada: Client, method: str, body: dict[str, str]
) -> None:
    post = await written(ada)
    eve = await client.sign_up()
    refused(await eve.request(method, f"/api/posts/{post['id']}", json=body), 403)
    assert (await eve.get(f"/api/posts/{post['id']}")).json == post


async def test_post_id_is_read_in_upper_case(ada: Client) -> None:
    post = await written(ada)
    path = f"/api/posts/{post['id'].upper()}"
    assert (await ada.get(path)).json == post
    assert (await ada.put(path, {})).status == 200
    assert (await ada.delete(path)).status == 204


@pytest.mark.parametrize(
    "form",
    [
        "{0.hex}",
        "{{{0}}}",
        "urn:uuid:{0}",
        "{0} ",
        " {0}",
        "{0}x",
        "1",
        "null",
        "%00",
        "%ff",
        "٣{0}",
        "{0}%0a",
    ],
)
async def test_post_id_in_another_form_is_404(member: Client, form: str) -> None:
    post = await written(member)
    answer = await member.get(f"/api/posts/{form.format(UUID(post['id']))}")
    refused(answer, 404, "Not found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_unknown_post_id_is_404(member: Client, method: str) -> None:
    answer = await member.request(method, f"/api/posts/{uuid4()}", json={})
    refused(answer, 404, "Post not found")


async def test_deleting_an_account_deletes_its_posts(ada: Client, db: "asyncpg.Connection") -> None:
    await written(ada)
    await db.execute("DELETE FROM users")
    assert (await ada.get("/api/posts", token="")).json["total"] == 0


class TestOrder:
    """401 before 415, 413 and 400, these before 404, that before 403."""

    async def test_401_comes_before_the_body_s_refusals(self, anyone: Client) -> None:
        for method, path in (("POST", "/api/posts"), ("PUT", f"/api/posts/{uuid4()}")):
            for body, kind in ((b"{", "application/json"), (b"x" * 3_000_000, "text/plain")):
                headers = {"Content-Type": kind}
                refused(await anyone.request(method, path, data=body, headers=headers), 401)

    async def test_415_comes_before_413_and_400(self, member: Client) -> None:
        headers = {"Content-Type": "text/plain"}
        for body in (b"{", b"x" * 3_000_000):
            refused(await member.post("/api/posts", data=body, headers=headers), 415)

    async def test_413_comes_before_400(self, member: Client) -> None:
        headers = {"Content-Type": "application/json"}
        refused(await member.post("/api/posts", data=b"x" * 3_000_000, headers=headers), 413)

    async def test_400_comes_before_404(self, member: Client) -> None:
        refused(await member.put(f"/api/posts/{uuid4()}", {"title": ""}), 400)

    async def test_400_comes_before_403(self, client: Client, ada: Client) -> None:
        path = f"/api/posts/{(await written(ada))['id']}"
        refused(await (await client.sign_up()).put(path, {"title": ""}), 400)
