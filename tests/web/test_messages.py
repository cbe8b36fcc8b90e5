"""Messages about fields: sentences for people, in the service's own words."""

import re
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import InitErrorDetails, ValidationError, core_schema

from service.admin.schemas import AccountChange, EventQuery
from service.audit.events import Kind
from service.errors import field_errors
from service.settings import Settings
from tests.support.client import Client, refused

*_OTHERS, _LAST = (f"'{kind}'" for kind in Kind)
EXPECTED_KINDS = f"{', '.join(_OTHERS)} or {_LAST}"
ID = "019ab2f4-6d1c-7f3e-8a52-0c9d4e7b1f60"
ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery staple"}
SHORT = "This field must have at least 8 characters"
LETTERS = "This field must have only the letters A to Z, digits, dots, underscores and hyphens"

# What is sent, the field, and the whole message.
BODIES: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("POST", "/auth/register", {**ACCOUNT, "password": "short"}, "password", SHORT),
    ("POST", "/auth/register", {**ACCOUNT, "password": ""}, "password", SHORT),
    ("POST", "/auth/register", {**ACCOUNT, "password": "ä" * 7}, "password", SHORT),
    ("POST", "/auth/register", {**ACCOUNT, "password": "🦊" * 129}, "password",
     "This field must have at most 128 characters"),
    ("POST", "/auth/register", {**ACCOUNT, "password": None}, "password",
     "This field must not be null"),
    ("POST", "/auth/register", {**ACCOUNT, "password": ["a"] * 9}, "password",
     "This field must be a single value"),
    ("POST", "/auth/register", {"email": "ada@example.com"}, "password", "This field is required"),
    ("POST", "/auth/register", {**ACCOUNT, "email": "a" * 255}, "email",
     "This field must have at most 254 characters"),
    ("POST", "/auth/register", {**ACCOUNT, "username": "ab"}, "username",
     "This field must have at least 3 characters"),
    ("POST", "/auth/register", {**ACCOUNT, "username": "a" * 81}, "username",
     "This field must have at most 80 characters"),
    ("POST", "/auth/register", {**ACCOUNT, "username": "ada lovelace"}, "username", LETTERS),
    ("POST", "/auth/register", {**ACCOUNT, "username": "änne"}, "username", LETTERS),
    ("POST", "/auth/register", {**ACCOUNT, "username": "ada\n"}, "username", LETTERS),
    ("POST", "/auth/register", {**ACCOUNT, "username": "ada\0"}, "username", LETTERS),
    ("POST", "/auth/register", {**ACCOUNT, "username": 5}, "username", "This field must be text"),
    ("POST", "/auth/register", {**ACCOUNT, "username": "ada\udcff"}, "username",
     "This field must not contain a lone surrogate"),
    ("POST", "/auth/register", {**ACCOUNT, "password": "long enough\udcff"}, "password",
     "This field must not contain a lone surrogate"),
    ("POST", "/auth/login", {**ACCOUNT, "password": ""}, "password",
     "This field must have at least 1 character"),
    ("POST", "/auth/login", {**ACCOUNT, "email": "a" * 1025}, "email",
     "This field must have at most 1,024 characters"),
    ("POST", "/auth/password/forgot", {"email": "nobody"}, "email",
     "This field must be an email address"),
    ("POST", "/auth/password/forgot", {"email": "a b@example.com"}, "email",
     "This field must be an email address"),
    ("POST", "/auth/password/forgot", {"email": "a@b@c"}, "email",
     "This field must be an email address"),
    ("POST", "/auth/email/verify", {"token": "a" * 201}, "token",
     "This field must have at most 200 characters"),
    ("POST", "/api/posts", {"title": "", "content": "b"}, "title", "This field must not be blank"),
    ("POST", "/api/posts", {"title": "\t", "content": "b"}, "title",
     "This field must not be blank"),
    ("POST", "/api/posts", {"title": "a" * 201, "content": "b"}, "title",
     "This field must have at most 200 characters"),
    ("POST", "/api/posts", {"title": "a", "content": "b" * 100_001}, "content",
     "This field must have at most 100,000 characters"),
    ("POST", "/api/posts", {"title": True, "content": "b"}, "title", "This field must be text"),
    ("PATCH", f"/api/posts/{ID}", {"title": None}, "title", "This field must not be null"),
    ("PATCH", "/auth/me", {"username": None}, "username", "This field must not be null"),
    ("PATCH", "/auth/me", {"username": "a"}, "username",
     "This field must have at least 3 characters"),
]  # fmt: skip
QUERIES = [
    ("page=0", "page", "This field must be at least 1"),
    ("page=1000001", "page", "This field must be at most 1000000"),
    ("page=one", "page", "This field must be a positive integer"),
    ("per_page=101", "per_page", "This field must be at most 100"),
    ("page=1&cursor=a", "page", "This field must not be sent together with a cursor"),
    ("cursor=", "cursor", "This field must be a cursor of this list"),
    (f"author={'a' * 256}", "author", "This field must have at most 255 characters"),
    (f"q={'a' * 1001}", "q", "This field must have at most 1,000 characters"),
    ("q=a&q=b", "q", "This field must be a single value"),
    ("page=1&page=2", "page", "This field must be a single value"),
    ("cursor=a&cursor=b", "cursor", "This field must be a single value"),
    ("q=%00", "q", "This field must not contain the character U+0000"),
]


@pytest.mark.parametrize(("method", "path", "body", "field", "message"), BODIES)
async def test_refused_member_has_a_sentence_for_people(
    member: Client, method: str, path: str, body: dict[str, Any], field: str, message: str
) -> None:
    answer = await member.request(method, path, json=body)
    assert refused(answer, 400)["errors"] == {field: [message]}


@pytest.mark.parametrize(("query", "field", "message"), QUERIES)
async def test_refused_parameter_has_a_sentence_for_people(
    anyone: Client, query: str, field: str, message: str
) -> None:
    answer = await anyone.get(f"/api/posts?{query}")
    assert refused(answer, 400)["errors"] == {field: [message]}


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (AccountChange, {"is_active": "yes"}, "must be true or false"),
        (AccountChange, {"is_admin": 1}, "must be true or false"),
        (AccountChange, {"is_admin": None}, "must not be null"),
        (EventQuery, {"user": "1"}, "must be an id"),
        (EventQuery, {"kind": "login"}, f"must be {EXPECTED_KINDS}"),
        (Settings, {"port": "http"}, "must be a whole number"),
        (Settings, {"port": "65536"}, "must be at most 65535"),
        (Settings, {"database_pool_size": "0"}, "must be at least 1"),
        (Settings, {"database_pool_timeout": "soon"}, "must be a number"),
        (Settings, {"database_pool_timeout": "0"}, "must be more than 0"),
        (Settings, {"ratelimit_enabled": "perhaps"}, "must be true or false"),
        (
            Settings,
            {"log_level": "LOUD"},
            "must be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'",
        ),
    ],
)
def test_refused_value_has_a_predicate_in_plain_words(
    model: type[BaseModel], values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model(**values)
    assert field_errors(caught.value) == {next(iter(values)): [message]}


# Every number that a message of pydantic's may need.
CONTEXT: dict[str, Any] = {
    "actual_length": 9, "class": "X", "class_name": "X", "date": "x", "decimal_places": 1,
    "discriminator": "'x'", "encoding": "utf-8", "encoding_error": "x", "error": "x",
    "error_type": "x", "expected": "'a', 'b' or 'c'", "expected_schemes": "x",
    "expected_tags": "x", "expected_version": 4, "field_type": "List", "ge": 1, "gt": 1, "le": 9,
    "lt": 9, "max_digits": 1, "max_length": 3, "method_name": "x", "min_length": 2,
    "multiple_of": 2, "object": "x", "pattern": "x", "tag": "x", "tz_actual": 1,
    "tz_expected": 1, "whole_digits": 1, "attribute": "x",
}  # fmt: skip
FOREIGN = re.compile(r"(?i)\b(input|validation|valid|string|should|bool\w*|int|float|regex)\b")


@pytest.mark.parametrize("kind", get_args(core_schema.ErrorType))
def test_no_kind_of_refusal_shows_the_words_of_a_library(kind: Any) -> None:
    fault: InitErrorDetails = {"type": kind, "ctx": CONTEXT, "loc": ("field",), "input": 1}
    wrong = ValidationError.from_exception_data("Model", [fault])
    ((message,),) = field_errors(wrong).values()
    assert kind == "value_error" or message.startswith(("must ", "is "))
    assert not FOREIGN.search(message)
