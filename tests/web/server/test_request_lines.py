"""Request lines and Host headers: one spelling of each, HTTP/1 and no other version."""

import pytest

from service.settings import ServerName
from tests.support.server import RawAnswer, connected, exchange, head, kept_alive, receive


def assert_refused(answer: RawAnswer, status: int) -> None:
    assert (answer.status, answer.json["code"]) == (status, status)
    assert answer.json["request_id"] == answer.headers["x-request-id"]


OTHER_SPELLINGS = [
    template.format(path)
    for path in ("/metrics", "/api/posts", "/health/live", "/auth/me", "/docs")
    for template in ("{}/", "/{}", "//{}", "{}//", "{}%2F", "/.{}", "/x/..{}", "{}%20", "{};x")
]


@pytest.mark.parametrize(
    "path",
    [
        *OTHER_SPELLINGS, "/%6detrics", "/%6Detrics", "/METRICS", "/api%2fposts", "/%61pi/posts",
        "/metrics%00", "/metrics#", "/api/posts/0190000%30-0000-7000-8000-000000000000",
    ],
)  # fmt: skip
async def test_path_in_another_spelling_is_404(shared_port: int, path: str) -> None:
    answer = await exchange(shared_port, head("GET", path))
    assert_refused(answer, 404)
    assert answer.json["message"] == "Not found"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/health/live", 200),
        ("http://[x/health/live", 200),
        ("HTTPS://x/health/live?x=1", 200),
        ("http://[x/nowhere", 404),
        ("http://x//health/live", 404),
        ("http://x/%68ealth/live", 404),
        ("http:///health/live", 404),
        ("x://x/health/live", 404),
        ("nowhere://x/health/live/", 404),
    ],
)
async def test_request_target_in_absolute_form_is_served(
    shared_port: int, target: str, status: int
) -> None:
    answer = await exchange(shared_port, head("GET", target))
    assert answer.status == status
    assert answer.headers["x-request-id"]
    assert answer.json.get("code", 200) == status


async def test_request_target_that_is_neither_path_nor_url_is_refused(
    shared_port: int, server: ServerName
) -> None:
    answer = await exchange(shared_port, head("GET", "nowhere"))
    assert answer.status == (404 if server == "hypercorn" else 400)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
        ["Upgrade: h2c"],
        ["Connection: upgrade", "Upgrade: H2C"],
        ["Connection: upgrade", "Upgrade: h2c, websocket"],
        ["Connection: upgrade", "Upgrade: h2"],
    ],
)
async def test_upgrade_to_http_2_is_ignored(
    shared_port: int, lines: list[str], version: bytes
) -> None:
    request = kept_alive("GET", "/health/live", *lines, "HTTP2-Settings: AAMAAABkAAQAAP__")
    async with connected(shared_port) as (reader, writer):
        writer.write(request.replace(b"HTTP/1.1", b"HTTP/" + version))
        answer = await receive(reader)
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert "upgrade" not in answer.headers
        if version == b"1.1":
            writer.write(kept_alive("GET", "/health/live"))
            assert (await receive(reader)).status == 200


CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
@pytest.mark.parametrize(
    ("method", "lines", "status"),
    [
        ("POST", ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"], 415),
        ("POST", ["Connection: upgrade", "Upgrade: websocket"], 415),
        ("CONNECT", [], 405),
    ],
)
async def test_body_of_a_request_for_another_protocol_is_no_request(
    shared_port: int, method: str, lines: list[str], status: int, framing: str
) -> None:
    body, line = SMUGGLED, f"Content-Length: {len(SMUGGLED)}"
    if framing == "Transfer-Encoding":
        body, line = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), CHUNKED
    async with connected(shared_port) as (reader, writer):
        writer.write(kept_alive(method, "/auth/login", *lines, line) + body)
        writer.write(kept_alive("GET", "/health/live"))
        assert (await receive(reader)).status == status
        assert (await receive(reader)).json == {"status": "ok"}


async def test_body_of_a_request_for_another_protocol_is_read(shared_port: int) -> None:
    body = b'{"email": "nobody@example.com"}'
    lines = ["Connection: Upgrade", "Upgrade: h2c", "Content-Type: application/json"]
    answer = await exchange(
        shared_port, head("POST", "/auth/login", *lines, f"Content-Length: {len(body)}") + body
    )
    assert "password" in answer.json["errors"]


@pytest.mark.parametrize(
    "line", ["PRI * HTTP/2.0", "GET /health/live HTTP/2.0", "GET / HTTP/3.0", "GET / HTTP/0.9"]
)
async def test_other_versions_of_http_are_refused_without_tls(shared_port: int, line: str) -> None:
    answer = await exchange(
        shared_port, line.encode() + b"\r\nHost: x\r\n\r\nSM\r\n\r\n" + b"x" * 9
    )
    assert (answer.status, answer.headers["connection"]) == (505, "close")


OTHER_PROTOCOLS = [
    "GET / RTSP/1.0", "GET /health/live RTSP/1.1", "GET / RTSP/2.0", "GET / RTSP/3.0",
    "GET /  RTSP/1.0", "OPTIONS * RTSP/1.0", "DESCRIBE / RTSP/1.0", "PUT / RTSP/1.0",
    "SOURCE / ICE/1.0", "GET / ICE/1.0", "GET / HTTPS/1.1", "GET / http/1.1",
]  # fmt: skip


@pytest.mark.parametrize("line", OTHER_PROTOCOLS)
async def test_request_line_of_another_protocol_is_400(shared_port: int, line: str) -> None:
    answer = await exchange(shared_port, f"{line}\r\nHost: x\r\n\r\n".encode())
    assert (answer.status, answer.headers["connection"]) == (400, "close")


async def test_request_line_of_another_protocol_is_400_in_parts_and_after_a_request(
    shared_port: int,
) -> None:
    line = b"GET /health/live RTSP/1.0\r\nHost: x\r\n\r\n"
    for cut in range(len(line)):
        async with connected(shared_port) as (reader, writer):
            writer.write(kept_alive("GET", "/health/live") + line[:cut])
            assert (await receive(reader)).status == 200
            writer.write(line[cut:])
            assert (await receive(reader)).status == 400


async def test_name_of_another_protocol_may_stand_elsewhere(shared_port: int) -> None:
    lines = ["X: GET /health/live?RTSP/1.0 RTSP/1.0", "Content-Length: 36"]
    request = (
        head("GET", "/health/live?RTSP/1.0", *lines) + b"GET /health/live?x RTSP/1.0\r\nX: RTSP"
    )
    assert (await exchange(shared_port, request)).status == 200


@pytest.mark.parametrize("method", ["get", "Get", "gET"])
async def test_method_in_lower_case_is_not_served(
    shared_port: int, server: ServerName, method: str
) -> None:
    answer = await exchange(shared_port, head(method, "/health/live"))
    if server == "hypercorn":
        assert_refused(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    else:  # its parser knows the methods, and takes another word for no HTTP
        assert (answer.status, answer.headers["connection"]) == (400, "close")


HOST_LINES = {
    "blank": "a b", "slash": "a/b", "user": "user@host", "two ports": "host:1:2", "word": "host:x",
    "long port": "host:123456", "empty": "", "port alone": ":80", "query": "host?x",
    "comma": "a,b c", "not ASCII": "h\u00f6st", "bracket": "[::1", "brackets": "[]",
    "percent": "%zz", "backslash": "a\\b", "fragment": "a#b", "angle": "<a>", "quote": '"a"',
}  # fmt: skip


@pytest.mark.parametrize("host", HOST_LINES.values(), ids=HOST_LINES)
async def test_invalid_host_is_400(shared_port: int, host: str) -> None:
    request = head("GET", "/health/live").replace(b"localhost", host.encode("latin-1"))
    answer = await exchange(shared_port, request)
    assert_refused(answer, 400)
    assert answer.json["message"] == "The Host header names no host"


@pytest.mark.parametrize(
    "host", ["x", "x:", "x:80", "127.0.0.1:8000", "[::1]:8000", "xn--bcher-kva.example", "a_b.c."]
)
async def test_valid_host_is_served(shared_port: int, host: str) -> None:
    request = head("GET", "/health/live").replace(b"localhost", host.encode())
    assert (await exchange(shared_port, request)).status == 200


@pytest.mark.parametrize("lines", [[], ["Host: a", "Host: b"], ["Host: a", "Host: a"]])
async def test_request_without_one_host_is_400(shared_port: int, lines: list[str]) -> None:
    request = "\r\n".join(["GET /health/live HTTP/1.1", *lines, "", ""]).encode()
    assert (await exchange(shared_port, request)).status == 400


@pytest.mark.parametrize("length", ["0", "5", "44"])
@pytest.mark.parametrize("first", ["Content-Length", "Transfer-Encoding"])
async def test_request_with_two_lengths_ends_the_connection(
    shared_port: int, length: str, first: str
) -> None:
    lines = [f"Content-Length: {length}", "Transfer-Encoding: chunked"]
    lines.sort(reverse=first == "Transfer-Encoding")
    smuggled = kept_alive("GET", "/health/live")
    async with connected(shared_port) as (reader, writer):
        writer.write(kept_alive("GET", "/health/live", *lines) + b"0\r\n\r\n" + smuggled)
        answer = await receive(reader)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await reader.read() == b""


async def test_content_coding_in_a_second_header_is_415(shared_port: int) -> None:
    lines = ["Content-Type: application/json", "Content-Encoding: identity"]
    lines += ["Content-Encoding: gzip", "Content-Length: 2"]
    answer = await exchange(shared_port, head("POST", "/auth/login", *lines) + b"{}")
    assert_refused(answer, 415)
    assert answer.headers["accept-encoding"] == "identity"
