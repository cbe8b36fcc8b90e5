"""Emails, usernames and words are the same whatever the database's locale.

Keys make emails and usernames unique and find them, because the indexes on lower(email) and
lower(username) depended on the locale. They are made by Python, and compared byte by byte
(collation "C").

Names in ASCII are their own keys in lower case. So SQL makes these, also for processes of an older
release that still write while this one is being rolled out, and for those who write by hand. An
account written so with other letters is refused.

Accounts wait from the beginning to the end, for about half a minute per million.

Words are searched for without regard to case and to the form in which Unicode writes them (NFKC).
The functions are replaced, and posts are not touched: a job makes the words of those that are there
anew, a batch at a time, so that neither reads nor writes wait for it.

An index lists the methods of hashes that another service made, for as long as there are such.

Revision ID: 0010
Revises: 0009
"""

import hashlib
import unicodedata
from collections.abc import Callable

import idna
import sqlalchemy as sa
from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BATCH = 5_000
SHOWN = 20  # keys in the report of those that several accounts have
KEPT = sa.text("deleted_at IS NULL")
KEYS = (("users", "email"), ("users", "username"), ("mail_links", "email"))

ASCII_KEY = """
CREATE FUNCTION ascii_key(name text) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN octet_length(name) = char_length(name) THEN lower(name COLLATE "C") END
$$
"""
FILL_KEYS = """
CREATE FUNCTION fill_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.email_key := coalesce(NEW.email_key, ascii_key(NEW.email));
    ELSIF NEW.email <> OLD.email AND NEW.email_key = OLD.email_key THEN
        NEW.email_key := coalesce(ascii_key(NEW.email), NEW.email_key);
    END IF;
    IF TG_TABLE_NAME = 'users' THEN
        IF TG_OP = 'INSERT' THEN
            NEW.username_key := coalesce(NEW.username_key, ascii_key(NEW.username));
        ELSIF NEW.username <> OLD.username AND NEW.username_key = OLD.username_key THEN
            NEW.username_key := coalesce(ascii_key(NEW.username), NEW.username_key);
        END IF;
    END IF;
    RETURN NEW;
END $$
"""
# Not called for what the service itself writes: it always writes the keys.
TRIGGERS = (
    ("users", "fill_keys_of_users", "INSERT", "NEW.email_key IS NULL OR NEW.username_key IS NULL"),
    (
        "users",
        "fill_changed_keys_of_users",
        "UPDATE OF email, username",
        "NEW.email <> OLD.email AND NEW.email_key = OLD.email_key "
        "OR NEW.username <> OLD.username AND NEW.username_key = OLD.username_key",
    ),
    ("mail_links", "fill_keys_of_mail_links", "INSERT", "NEW.email_key IS NULL"),
)
# An offline script has no Python to make the other keys.
REFUSE_OFFLINE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM users WHERE email_key IS NULL OR username_key IS NULL)
        OR EXISTS (SELECT FROM mail_links WHERE email_key IS NULL)
    THEN
        RAISE 'some names have letters beyond ASCII, whose keys only `service migrate` makes';
    END IF;
END $$
"""
# The words of a text as search compares them. Of the collations, pg_c_utf8 is PostgreSQL's own from
# 17 on, und-x-icu that of its builds with ICU; two letters they lower differently: a Σ at the end
# of a word, and İ. PostgreSQL's parser takes signs beyond ASCII for parts of words or not as the
# locale says, so they become spaces. In PL/pgSQL, which keeps its plans.
SEARCHABLE = r"""
CREATE FUNCTION searchable(words text) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS $$
DECLARE
    normal text;
BEGIN
    IF octet_length(words) = char_length(words) THEN
        RETURN lower(words COLLATE "C");
    END IF;
    -- Conditions, because most texts need only their case changed, which costs a fifth.
    IF words ~ '[^{normal}]' AND words IS NOT NFKC NORMALIZED THEN
        -- PostgreSQL sorts the marks of a letter in the square of their number: 20,000 took 15 s.
        words := regexp_replace(words, '([^{unmarked}]{64})', '\1 ', 'g');
        normal := normalize(words, NFKC);
        -- Some signs become many letters, and a tsvector holds no more than a megabyte.
        IF octet_length(normal) <= 400000 THEN
            words := normal;
        END IF;
    END IF;
    words := lower(words COLLATE {collation});
    IF words ~ '[\u0307\u00df\u03c2{unseen}{signs}]' THEN
        words := replace(replace(words, U&'i\0307', 'i'), U&'\00DF', 'ss');
        words := replace(words, U&'\03C2', U&'\03C3');
        -- Looking for one costs a tenth of replacing them.
        IF words ~ '[{unseen}]' THEN
            words := regexp_replace(words, '[{unseen}]', '', 'g');
        END IF;
        words := regexp_replace(words, '[{signs}]', ' ', 'g');
    END IF;
    RETURN words;
END $$
"""
# ASCII, the scripts of China, Japan and Korea, and Thai, in which words may be long, without marks.
UNMARKED = (
    r"\u0001-\u007f\u0e01-\u0e37\u0e3f-\u0e47\u1100-\u11ff\u3000-\u3029\u3030-\u3098\u309b-\u9fff"
)
# Letters of which most texts consist and which NFKC changes neither alone nor side by side.
NORMAL = (
    r"\u0001-\u009f\u00bf-\u0131\u0391-\u03a1\u03a3-\u03a9\u03ac-\u03ce\u0400-\u0481\u048a-\u052f"
    r"\u05d0-\u05ea\u0621-\u064a\u2012-\u2016\u2018-\u2023\u2190-\u222b\u2600-\u27bf\u3001-\u3029"
    r"\u3041-\u3096\u30a1-\u30fe\u4e00-\u9fff\uac00-\ud7a3\U0001f300-\U0001f6d7\U0001f900-\U0001fa53"
)
UNSEEN = r"\u00ad\u200c-\u200f\u2060\ufe00-\ufe0f\ufeff"
SIGNS = (
    r"\u0080-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05f3\u05f4"
    r"\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u1360-\u1368\u17d4-\u17da"
    r"\u2000-\u206f\u20a0-\u20cf\u2100-\u214f\u2190-\u2bff\u2e00-\u2e7f"
    r"\u3000-\u3004\u3008-\u3020\u3030\u303d\u30fb\ufe10-\ufe6f\ufffc\ufffd"
    r"\U0001f000-\U0001faff\U000e0020-\U000e007f"
)
FUNCTIONS = """
DO $do$ DECLARE
    -- The language of the search is known from the function that is there.
    language text := substring(
        pg_get_function_sqlbody('post_words(text, text)'::regprocedure)
        FROM '''([^'']+)''::regconfig'
    );
    collation_name text := coalesce(
        (SELECT 'pg_catalog.pg_c_utf8' FROM pg_collation WHERE collname = 'pg_c_utf8'),
        (SELECT 'pg_catalog."und-x-icu"' FROM pg_collation WHERE collname = 'und-x-icu'),
        'pg_catalog."default"'
    );
BEGIN
    EXECUTE replace($function${searchable}$function$, '{{collation}}', collation_name);
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION post_words(title text, content text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN to_tsvector(%L::regconfig, {text})
    $function$, language);
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION post_query(words text) RETURNS tsquery
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN websearch_to_tsquery(%L::regconfig, {words})
    $function$, language);
END $do$
"""
SEARCH = {
    "searchable": SEARCHABLE.replace("{unmarked}", UNMARKED)
    .replace("{normal}", NORMAL)
    .replace("{unseen}", UNSEEN)
    .replace("{signs}", SIGNS),
    "text": "searchable(title || ' ' || content)",
    "words": "searchable(words)",
}
SEARCH_0004 = {
    "searchable": "SELECT",  # it is dropped once nothing uses it
    "text": "title || ' ' || content",
    "words": "words",
}
# As enqueue() writes it; an empty database needs none.
REFRESH_JOB = """
INSERT INTO pgqueuer (priority, entrypoint, payload, status)
SELECT 0, 'refresh post words', convert_to('{"after": null}', 'UTF8'), 'queued'
WHERE EXISTS (SELECT FROM posts)
"""


class SameKey(Exception):
    """Several accounts have the same email or username."""


def upgrade() -> None:
    for table, name in KEYS:
        op.add_column(table, sa.Column(f"{name}_key", sa.Text(collation="C"), nullable=True))
    op.execute(ASCII_KEY)
    op.execute("UPDATE users SET email_key = ascii_key(email), username_key = ascii_key(username)")
    op.execute("UPDATE mail_links SET email_key = ascii_key(email)")
    if context.is_offline_mode():
        op.execute(REFUSE_OFFLINE)
    else:
        fill("users", "email", email_key)
        fill("users", "username", username_key)
        fill("mail_links", "email", email_key)
        refuse_same("email")
        refuse_same("username")
    for table, name in KEYS:
        op.alter_column(table, f"{name}_key", nullable=False)
    for name in ("email", "username"):
        key = f"{name}_key"
        op.create_index(f"uq_users_{key}", "users", [key], unique=True, postgresql_where=KEPT)
        op.drop_index(f"uq_users_lower_{name}", "users")
    op.execute(FILL_KEYS)
    for table, trigger, event, when in TRIGGERS:
        op.execute(
            f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} FOR EACH ROW "
            f"WHEN ({when}) EXECUTE FUNCTION fill_keys()"
        )
    op.execute(FUNCTIONS.format(**SEARCH))
    op.execute(REFRESH_JOB)
    op.create_index(
        "ix_users_hash_methods",
        "users",
        [sa.text("split_part(password_hash, '$', 1)")],
        postgresql_where=sa.text("password_hash NOT LIKE '$argon2%' AND deleted_at IS NULL"),
    )


def fill(table: str, name: str, key_of: Callable[[str], str]) -> None:
    """Make the keys that SQL left out."""
    missing = sa.text(
        f"SELECT id, {name} FROM {table} WHERE {name}_key IS NULL LIMIT {BATCH}"  # noqa: S608
    )
    update = sa.text(f"UPDATE {table} SET {name}_key = :key WHERE id = :id")  # noqa: S608
    connection = op.get_bind()
    while rows := connection.execute(missing).all():
        connection.execute(update, [{"id": row[0], "key": key_of(row[1])} for row in rows])


def refuse_same(name: str) -> None:
    """Raise SameKey when several accounts have one key, naming the key and their ids."""
    statement = sa.text(
        f"SELECT {name}_key, string_agg(id::text, ', ' ORDER BY created_at, id) "  # noqa: S608
        f"FROM users WHERE deleted_at IS NULL GROUP BY {name}_key HAVING count(*) > 1 ORDER BY 1"
    )
    found = op.get_bind().execute(statement).all()
    if found:
        shown = "; ".join(f"{key} ({ids})" for key, ids in found[:SHOWN])
        more = f"; and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise SameKey(
            f"several accounts have the same {name}, so all but one of each need another "
            f"{name} or must be deleted: {shown}{more}"
        )


def downgrade() -> None:
    op.drop_index("ix_users_hash_methods", "users")
    op.execute("DELETE FROM pgqueuer WHERE entrypoint = 'refresh post words'")
    op.execute(FUNCTIONS.format(**SEARCH_0004))
    op.execute("DROP FUNCTION searchable(text)")
    for table, trigger, _, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute("DROP FUNCTION fill_keys()")
    op.execute("DROP FUNCTION ascii_key(text)")
    for name in ("email", "username"):
        lower = sa.text(f"lower({name})")
        op.create_index(
            f"uq_users_lower_{name}", "users", [lower], unique=True, postgresql_where=KEPT
        )
    for table, name in KEYS:
        op.drop_column(table, f"{name}_key")


# What follows is service/canonical.py as it was when this migration was written.


def email_key(address: str) -> str:
    if address.isascii():
        return bounded(address.lower())
    local, at, domain = address.rpartition("@")
    return bounded(f"{caseless(local)}{at}{domain_key(domain) if at else caseless(domain)}")


def username_key(username: str) -> str:
    return bounded(caseless(username))


def caseless(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFD", text).casefold()
    folded = unicodedata.normalize("NFKD", folded).casefold()
    return unicodedata.normalize("NFKC", folded)


def domain_key(domain: str) -> str:
    domain = unicodedata.normalize("NFC", domain)
    try:
        if len(domain) > 253:
            raise idna.IDNAError("too long")
        mapped = idna.uts46_remap(domain, std3_rules=False)
    except idna.IDNAError:
        mapped = caseless(domain)
        return "".join("." if letter in "\u3002\uff0e\uff61" else letter for letter in mapped)
    labels = mapped.split(".")
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels
    )


def bounded(key: str) -> str:
    encoded = key.encode(errors="surrogatepass")
    return key if len(encoded) <= 1_024 else f"sha256:{hashlib.sha256(encoded).hexdigest()}"
