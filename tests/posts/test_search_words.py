# ruff: noqa: RUF001
"""Words are found in any case and normal form, whatever the database's locale."""

import unicodedata
from itertools import islice, product
from string import ascii_lowercase
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from service.db.database import Database
from service.jobs.context import JobContext
from service.mail import LogMailer
from service.posts import word_refresh
from service.settings import Settings
from service.testing.application import running, working
from tests.support.client import Client
from tests.support.migrating import migrate
from tests.support.polling import until

# What is written, and words that find it.
FOUND = {
    "composed": ("un caf\u00e9", "CAFE\u0301"),
    "decomposed": ("une cre\u0300me", "CR\u00c8ME"),
    "capitals": ("LE THÉÂTRE", "théâtre"),
    "ASCII capitals": ("INFORMATIK", "informatik"),
    "sigma": ("Η ΟΔΟΣ", "οδος"),
    "sigma inside": ("οδός", "ΟΔΌΣ"),
    "sharp s": ("eine Straße", "STRASSE"),
    "capital sharp s": ("GROẞ", "groß"),
    "dotted I": ("İzmir", "izmir"),
    "small dotted I": ("izmit", "İZMİT"),
    "ligature": ("ein ﬁsch", "FISCH"),
    "width": ("ｗｉｄｅ", "wide"),
    "guillemets": ("«Привет»", "ПРИВЕТ"),
    "quotation marks": ("“quoted”", "quoted"),
    "dash": ("before—after", "after"),
    "apostrophe": ("l’été", "ÉTÉ"),
    "emoji": ("hello👍🏽", "hello"),
    "ideographs": ("日本語、文字", "文字"),
    "Hangul": ("한글", unicodedata.normalize("NFD", "한글")),
    "soft hyphen": ("hyph\u00aden", "hyphen"),
    "Devanagari": ("हिन्दी", "हिन्दी"),
    "Arabic": ("مرحبا، عالم", "عالم"),
}


async def found(client: Client, words: str) -> list[str]:
    answer = await client.get("/api/posts", query_string={"q": words})
    assert answer.status == 200
    return [post["content"] for post in answer.json["posts"]]


async def test_words_are_found_in_any_form_and_text_stays_as_it_was(anywhere: Client) -> None:
    author = await anywhere.sign_up()
    for title, (content, _) in FOUND.items():
        answer = await author.post("/api/posts", {"title": f"{title} 1", "content": content})
        assert (answer.status, answer.json["content"]) == (201, content)
    missed = {
        title: words
        for title, (content, words) in FOUND.items()
        if await found(anywhere, words) != [content]
    }
    assert missed == {}


@pytest.mark.parametrize("words", ["日本語", "👍", "\u0301", "“", "ﷺ" * 100, "ß" * 1_000])
async def test_no_search_fails_for_its_letters(anywhere: Client, words: str) -> None:
    assert (await anywhere.get("/api/posts", query_string={"q": words})).status == 200


async def test_words_of_a_post_take_bounded_time_whatever_their_marks(
    db: "asyncpg.Connection",
) -> None:
    for marks in ("\u0301\u0316", "\u3099\u0301", "\U0001d165\u0316"):
        words = await db.fetchval("SELECT searchable($1)", "a" + marks * 50_000, timeout=10)
        assert len(words) > 50_000


async def test_post_whose_words_grow_by_normalization_is_taken(anywhere: Client) -> None:
    # Each sign becomes six letters, and a tsvector holds one megabyte of different words.
    words = ("㌖" * 5 + "".join(pair) for pair in product(ascii_lowercase, repeat=3))
    content = " ".join(islice(words, 11_000))
    assert len(content) < 100_000
    author = await anywhere.sign_up()
    answer = await author.post("/api/posts", {"title": "Kilometres", "content": content})
    assert answer.status == 201


async def old_posts(url: str, *contents: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection to a database of the last release with posts."""
    await migrate(url, "0009")
    connection = await asyncpg.connect(url)
    author = uuid4()
    await connection.execute(
        "INSERT INTO users (id, email, username, password_hash) "
        "VALUES ($1, 'ida@example.com', 'ida', '')",
        author,
    )
    await connection.executemany(
        "INSERT INTO posts (id, author_id, title, content) VALUES ($1, $2, 'Old', $3)",
        [(uuid4(), author, content) for content in contents],
    )
    return connection


async def test_posts_of_before_are_found_once_the_worker_has_refreshed_them(
    empty_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_refresh, "BATCH", 2)
    contents = ["cafe\u0301 one", "café two", "plain three", "cafe\u0301 four", "plain five"]
    connection = await old_posts(empty_url, *contents)
    shown = "SELECT id, title, content, version, updated_at FROM posts ORDER BY id"
    before = await connection.fetch(shown)
    await migrate(empty_url, "head")
    here = settings.model_copy(update={"database_url": SecretStr(empty_url)})
    async with running(here) as app:
        client = Client(app)
        assert sorted(await found(client, "CAFÉ")) == ["café two"]
        async with working(here):
            await until(lambda: connection.fetchval("SELECT count(*) = 0 FROM pgqueuer"))
        assert len(await found(client, "CAFÉ")) == 3
    assert await connection.fetch(shown) == before
    stale = "SELECT count(*) FROM posts WHERE search <> post_words(title, content)"
    assert await connection.fetchval(stale) == 0
    events = "SELECT count(*) FROM post_events WHERE kind = 'post.updated'"
    assert await connection.fetchval(events) == 0
    await connection.close()


async def test_refresh_of_no_posts_ends(
    settings: Settings, database: Database, db: "asyncpg.Connection"
) -> None:
    context = JobContext(settings, database, LogMailer("a@example.com"))
    await word_refresh.refresh_words(context, {"after": None})
    assert await db.fetchval("SELECT count(*) FROM pgqueuer") == 0


async def test_language_of_the_search_outlives_the_migration(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_LANGUAGE", "german")
    connection = await old_posts(empty_url)
    monkeypatch.delenv("SEARCH_LANGUAGE")
    stems = "SELECT post_words('die Häuser', '')::text || post_query('HÄUSER')::text"
    before = await connection.fetchval(stems)
    await migrate(empty_url, "head")
    assert await connection.fetchval(stems) == before == "'haus':2'haus'"
    await migrate(empty_url, "0009", down=True)
    assert await connection.fetchval(stems) == before
    await connection.close()
