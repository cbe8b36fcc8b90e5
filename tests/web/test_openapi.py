"""The document is valid and tells of every route."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from service.app import create_app
from service.testing.application import make_settings
from service.web.openapi import document
from service.web.server.application import Service
from tests.support.client import Client, refused

Operation = dict[str, Any]


@pytest.fixture
def described(app: Service) -> dict[str, Any]:
    """The application's document."""
    return document(app)


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Every operation with its path and method."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def find(described: dict[str, Any], operation_id: str) -> Operation:
    """The operation of that id."""
    return next(one for _, _, one in operations(described) if one["operationId"] == operation_id)


def test_openapi_document_is_valid(described: dict[str, Any]) -> None:
    validate(described)
    assert described["openapi"] == "3.1.0"
    assert described["info"]["version"] == "1.0.0"
    assert described["info"]["license"] == {"name": "MIT", "identifier": "MIT"}


def test_openapi_document_has_every_route(app: Service, described: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(\w+:)?", "{", rule.rule).replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in operations(described)} == routes


@pytest.mark.parametrize("model", ["LoginProof", "StepUpProof", "TotpConfirmation"])
def test_codes_have_a_maximal_length(described: dict[str, Any], model: str) -> None:
    members = described["components"]["schemas"][model]["properties"]
    codes = [members[name] for name in ("code", "recovery_code") if name in members]
    assert [code["maxLength"] for code in codes] == [1024] * len(codes)


@pytest.mark.parametrize("model", ["FinishedLoginOut", "CarriedFinishedLoginOut"])
def test_number_of_recovery_codes_left_is_optional_and_has_no_default(
    described: dict[str, Any], model: str
) -> None:
    schema = described["components"]["schemas"][model]
    assert "recovery_codes_left" not in schema["required"]
    assert "default" not in schema["properties"]["recovery_codes_left"]


def test_operation_ids_are_unique_and_without_methods(described: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(described)]
    assert sorted(set(ids)) == sorted(ids)
    assert "list_posts" in ids


# Operations that take no body, too.
WITHOUT_BODY = {("/auth/passkeys/options", "post"), ("/auth/me", "delete")}
# The schemas of WebAuthn, whose ids are other bytes, and domains.
WEBAUTHN = {
    "AssertionCredential", "RegistrationCredential", "Descriptor", "RelyingPartyOut",
    "PasskeyUserOut",
}  # fmt: skip


def test_every_operation_has_a_success_and_the_common_failures(described: dict[str, Any]) -> None:
    for path, method, operation in operations(described):
        told = operation["responses"]
        assert {"500", "503"} <= set(told), (path, method)
        assert any(status < "400" for status in told), (path, method)
        assert operation["summary"].endswith("."), (path, method)
        if "requestBody" in operation:
            required = (path, method.lower()) not in WITHOUT_BODY
            assert operation["requestBody"]["required"] is required, (path, method)
            assert {"400", "413"} <= set(told), (path, method)
            # A form that is sent as something else is an empty form.
            sent_as_json = "application/json" in operation["requestBody"]["content"]
            assert ("415" in told) is sent_as_json, (path, method)
        if operation["security"]:
            assert "401" in told, (path, method)
        if "{" in path:
            assert "404" in told, (path, method)


def test_declared_errors_are_in_the_document(described: dict[str, Any]) -> None:
    change = find(described, "change_post")["responses"]
    assert set(change) >= {"200", "400", "401", "403", "404", "413", "415", "500", "503"}
    examples = change["404"]["content"]["application/json"]["examples"]
    assert examples["PostNotFound"]["value"]["message"] == "Post not found"
    taken = find(described, "register")["responses"]["409"]["content"]["application/json"]
    assert set(taken["examples"]) == {"EmailTaken", "UsernameTaken"}
    assert taken["schema"] == {"$ref": "#/components/schemas/Error"}


def test_authenticated_routes_name_their_security_scheme(described: dict[str, Any]) -> None:
    assert find(described, "read_me")["security"] == [
        {"accessToken": []},
        {"accessCookie": []},
        {"apiKey": ["account:read"]},
    ]
    confirmed: dict[str, list[str]] = {"accessCookie": [], "csrfToken": []}
    by_key = {"apiKey": ["posts:write"]}
    assert find(described, "create_post")["security"] == [{"accessToken": []}, confirmed, by_key]
    assert find(described, "list_users")["security"][-1] == {"apiKey": ["admin:read"]}
    assert find(described, "change_user")["security"][-1] == {"apiKey": ["admin:write"]}
    assert find(described, "logout")["security"] == [{"accessToken": []}, confirmed]
    confirmed = {"refreshCookie": [], "csrfToken": []}
    assert find(described, "refresh")["security"] == [{"refreshToken": []}, confirmed]
    assert find(described, "list_posts")["security"] == []
    assert all("security" in operation for _, _, operation in operations(described))
    schemes = described["components"]["securitySchemes"]
    assert {
        name: (scheme["type"], scheme.get("scheme") or (scheme["in"], scheme["name"]))
        for name, scheme in schemes.items()
    } == {
        "accessToken": ("http", "bearer"),
        "refreshToken": ("http", "bearer"),
        "apiKey": ("http", "bearer"),
        "accessCookie": ("apiKey", ("cookie", "access_token")),
        "refreshCookie": ("apiKey", ("cookie", "refresh_token")),
        "csrfToken": ("apiKey", ("header", "X-CSRF-Token")),
    }


def test_authenticated_writes_document_a_missing_csrf_token(described: dict[str, Any]) -> None:
    def examples(operation_id: str) -> set[str]:
        told = find(described, operation_id)["responses"]["403"]
        return set(told["content"]["application/json"]["examples"])

    assert "CsrfRefused" in examples("create_post") & examples("refresh") & examples("logout")
    assert "CsrfRefused" not in examples("read_me")


def test_parameters_are_documented_with_their_bounds(described: dict[str, Any]) -> None:
    query = {
        parameter["name"]: parameter
        for parameter in find(described, "list_posts")["parameters"]
        if parameter.get("in") == "query"
    }
    assert query["page"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    assert "first one" in query["page"]["description"]
    assert query["per_page"]["schema"]["maximum"] == 100
    assert not any(parameter.get("required") for parameter in query.values())
    post_id = find(described, "read_post")["parameters"][0]
    assert (post_id["name"], post_id["required"]) == ("post_id", True)
    assert post_id["schema"] == {"type": "string", "format": "uuid"}


def test_pages_document_the_token_and_the_form(described: dict[str, Any]) -> None:
    for name, model in (("verification", "LinkToken"), ("reset", "PasswordReset")):
        [token] = [
            parameter
            for parameter in find(described, f"read_{name}_page")["parameters"]
            if parameter.get("in") == "query"
        ]
        assert (token["name"], token["required"]) == ("token", True)
        assert token["schema"]["maxLength"] == 200
        body = find(described, f"submit_{name}_page")["requestBody"]["content"]
        assert body == {
            "application/x-www-form-urlencoded": {
                "schema": {"$ref": f"#/components/schemas/{model}"}
            }
        }


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("*", True),
        ('"3"', True),
        ('W/"3"', True),
        ('""', True),
        ('"a,b" ,, W/"c",', True),
        ("", False),
        ("3", False),
        ('"3', False),
        ('"3" "4"', False),
        ('*, "3"', False),
        ('w/"3"', False),
    ],
)
async def test_documented_entity_tags_are_those_that_are_taken(
    described: dict[str, Any], anyone: Client, text: str, good: bool
) -> None:
    told = {
        parameter["name"]: parameter["schema"]["pattern"]
        for operation_id in ("list_posts", "change_post")
        for parameter in find(described, operation_id)["parameters"]
        if parameter.get("name", "").startswith("If-")
    }
    assert set(told) == {"If-Match", "If-None-Match"}
    assert all(bool(re.search(pattern, text)) is good for pattern in told.values())
    answer = await anyone.get("/api/posts", headers={"If-None-Match": text})
    assert answer.status == (400 if not good else 304 if text == "*" else 200)


def test_email_addresses_are_documented_as_they_are_checked(described: dict[str, Any]) -> None:
    email = described["components"]["schemas"]["ResetRequest"]["properties"]["email"]
    assert re.search(email["pattern"], "ada@example.com")
    assert not re.search(email["pattern"], "nobody")
    assert not re.search(email["pattern"], "a@\0b")


def test_partial_changes_document_no_defaults_and_no_null(described: dict[str, Any]) -> None:
    change = described["components"]["schemas"]["PostChange"]
    assert "required" not in change
    for member in change["properties"].values():
        assert "default" not in member
        assert member["type"] == "string"


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a part of the document, itself included."""
    if isinstance(node, dict):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from objects(child)


def test_members_that_may_be_left_out_have_no_default(described: dict[str, Any]) -> None:
    """A client that is generated from the document would take them for required."""
    assert [part for part in objects(described) if part.get("default", ...) is None] == []
    for schema in described["components"]["schemas"].values():
        for part in objects(schema):
            assert "default" not in part, schema.get("title")


@pytest.mark.parametrize(
    ("public_url", "server"),
    [
        (None, "/"),
        ("https://api.example.com", "https://api.example.com"),
        ("https://example.com:8443/service/", "https://example.com:8443/service"),
    ],
)
def test_server_of_the_document_is_the_public_url(public_url: str | None, server: str) -> None:
    settings = make_settings(database_url="postgresql:///", public_url=public_url)
    assert document(create_app(settings))["servers"] == [{"url": server}]


UUIDS = {"type": "string", "format": "uuid"}
NUMBERS = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


def test_every_id_is_documented_as_a_uuid_and_that_of_a_job_as_a_number(
    described: dict[str, Any],
) -> None:
    members = [
        ("job_id" if (title, name) == ("JobOut", "id") else name, schema)
        for title, model in described["components"]["schemas"].items()
        for name, schema in model.get("properties", {}).items()
        if title not in WEBAUTHN and name != "rp_id"
    ]
    parameters = [
        (parameter["name"], parameter["schema"])
        for _, _, operation in operations(described)
        for parameter in operation["parameters"]
        if parameter.get("in") in {"path", "query"}
    ]
    seen = set()
    for name, schema in (*members, *parameters):
        if re.fullmatch(r"id|\w+_id|user", name) and name != "request_id" and "$ref" not in schema:
            seen.add(name)
            kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
            assert kinds == [NUMBERS if name == "job_id" else UUIDS], name
    assert seen >= {"id", "post_id", "user_id", "session_id", "actor_id", "user", "job_id"}


LINKS = {
    ("register", "Login"): "login",
    ("login", "Refresh"): "refresh",
    ("login", "ReadMe"): "read_me",
    ("show_second_factor", "Refresh"): "refresh",
    ("show_second_factor", "ReadMe"): "read_me",
    ("log_in_by_passkey", "Refresh"): "refresh",
    ("log_in_by_passkey", "ReadMe"): "read_me",
    ("refresh", "Refresh"): "refresh",
    ("log_in_externally", "Refresh"): "refresh",
    ("log_in_externally", "ReadMe"): "read_me",
    ("link_identity", "UnlinkIdentity"): "unlink_identity",
    ("create_api_key", "RevokeApiKey"): "revoke_api_key",
    ("list_posts", "NextPage"): "list_posts",
    ("list_posts_in_any_state", "NextPage"): "list_posts_in_any_state",
    ("list_jobs", "NextPage"): "list_jobs",
    ("list_users", "NextPage"): "list_users",
    ("list_events", "NextPage"): "list_events",
    ("create_post", "ReadPost"): "read_post",
    ("create_post", "ChangePost"): "change_post",
    ("create_post", "DeletePost"): "delete_post",
    ("delete_post", "RestorePost"): "restore_post",
    ("remove_post", "RestorePost"): "restore_removed_post",
}


def test_answers_link_to_the_operations_that_follow(described: dict[str, Any]) -> None:
    found = {}
    for _, _, operation in operations(described):
        for answer in operation["responses"].values():
            for name, link in answer.get("links", {}).items():
                found[operation["operationId"], name] = link["operationId"]
                target = find(described, link["operationId"])
                taken = {parameter.get("name") for parameter in target["parameters"]}
                assert set(link.get("parameters", {})) <= taken
                assert link["description"].endswith(".")
    assert found == LINKS


async def test_links_lead_from_an_answer_to_the_next(
    member: Client, described: dict[str, Any]
) -> None:
    made = await member.post("/api/posts", {"title": "a", "content": "b"})
    links = find(described, "create_post")["responses"]["201"]["links"]
    assert links["ChangePost"]["parameters"] == {
        "post_id": "$response.body#/id",
        "If-Match": "$response.header.ETag",
    }
    current = {"If-Match": made.headers["ETag"]}
    changed = await member.request(
        "PATCH", f"/api/posts/{made.json['id']}", json={"title": "c"}, headers=current
    )
    assert changed.status == 200


def test_answers_have_closed_schemas_and_requests_open_ones(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert schemas["PostOut"]["additionalProperties"] is False
    assert set(schemas["PostOut"]["required"]) == set(schemas["PostOut"]["properties"])
    assert "additionalProperties" not in schemas["NewPost"]


def test_ids_and_times_are_documented_with_their_formats(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    user = schemas["UserOut"]["properties"]
    assert [user[name]["format"] for name in ("id", "email", "created_at")] == [
        "uuid",
        "email",
        "date-time",
    ]
    email = schemas["Registration"]["properties"]["email"]
    assert (email["format"], email["maxLength"]) == ("email", 254)


def test_every_schema_has_a_valid_example(described: dict[str, Any]) -> None:
    resource = DRAFT202012.create_resource(described)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    bodies = {
        content["schema"]["$ref"]
        for _, _, operation in operations(described)
        for part in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in part.get("content", {}).values()
        if "$ref" in content["schema"]
    } - {"#/components/schemas/Error"}
    for reference in bodies:
        schema = described["components"]["schemas"][reference.rpartition("/")[2]]
        assert schema["examples"], reference
        validator = OAS31Validator(
            {"$ref": f"urn:document{reference}"},
            registry=registry,
            format_checker=OAS31Validator.FORMAT_CHECKER,
        )
        for example in schema["examples"]:
            validator.validate(example)


def test_every_failure_s_example_is_of_its_schema(described: dict[str, Any]) -> None:
    resource = DRAFT202012.create_resource(described)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    failures = [
        (f"/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}", status, told)
        for path, method, operation in operations(described)
        for status, told in operation["responses"].items()
        if "application/json" in told.get("content", {}) and status >= "400"
    ]
    assert failures
    for place, status, told in failures:
        pointer = f"{place}/responses/{status}/content/application~1json/schema"
        schema = OAS31Validator({"$ref": f"urn:document#{pointer}"}, registry=registry)
        for example in told["content"]["application/json"]["examples"].values():
            schema.validate(example["value"])
            assert str(example["value"]["code"]) == status


def test_login_s_403_is_an_error_or_one_with_a_login_token(described: dict[str, Any]) -> None:
    told = find(described, "login")["responses"]["403"]
    content = told["content"]["application/json"]
    assert content["schema"] == {
        "oneOf": [
            {"$ref": "#/components/schemas/Error"},
            {"$ref": "#/components/schemas/LoginIncomplete"},
        ]
    }
    schema = described["components"]["schemas"]["LoginIncomplete"]
    assert set(schema["required"]) == {
        "error", "message", "code", "request_id", "reason", "login_token", "expires_in", "factors"
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    error = described["components"]["schemas"]["Error"]
    assert "login_token" not in error["properties"]


@pytest.mark.parametrize(
    ("operation_id", "status", "reasons"),
    [
        ("login", "403", {"second_factor_required"}),
        ("show_second_factor", "401", {"second_factor_failed", "login_expired"}),
        ("show_second_factor", "429", {"second_factor_locked"}),
        (
            "step_up_session",
            "403",
            {
                "second_factor_failed",
                "passkey_refused",
                "second_factor_required",
                "insufficient_scope",
            },
        ),
        ("log_in_by_passkey", "401", {"passkey_unknown", "passkey_refused"}),
        ("remove_passkey", "409", {"last_login_method"}),
        ("create_api_key", "409", {"key_limit"}),
        ("create_api_key", "403", {"step_up_required", "email_unverified", "insufficient_scope"}),
        ("step_up_session", "429", {"second_factor_locked"}),
    ],
)
def test_operations_say_which_reasons_they_give(
    described: dict[str, Any], operation_id: str, status: str, reasons: set[str]
) -> None:
    told = find(described, operation_id)["responses"][status]
    assert set(re.findall("Reason: `([a-z_]+)`", told["description"])) == reasons
    examples = told["content"]["application/json"]["examples"].values()
    assert {one["value"]["reason"] for one in examples if "reason" in one["value"]} == reasons


def test_tags_are_documented_in_order(described: dict[str, Any]) -> None:
    names = [tag["name"] for tag in described["tags"]]
    seen = dict.fromkeys(tag for _, _, one in operations(described) for tag in one["tags"])
    assert names == list(seen)
    assert all(tag["description"] for tag in described["tags"])


def test_openapi_document_is_the_same_each_time(app: Service) -> None:
    assert document(app) == document(app)


async def test_openapi_document_is_served_with_an_entity_tag(
    client: Client, described: dict[str, Any]
) -> None:
    first = await client.get("/openapi.json")
    assert (first.status, first.json) == (200, described)
    assert first.headers["Cache-Control"] == "no-cache"
    again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await client.get("/openapi.json", headers={"If-None-Match": '"another"'})
    assert other.status == 200
    refused(await client.get("/openapi.json", headers={"If-None-Match": "none"}), 400)
