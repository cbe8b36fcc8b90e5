"""The beginning of the shutdown."""

from service.app import Service
from service.web.shutdown import begin_shutdown, shutdown
from tests.client import Client


async def test_it_begins_once(app: Service) -> None:
    calls: list[str] = []
    shutdown(app).at_begin(lambda: calls.append("called"))
    begin_shutdown(app)
    begin_shutdown(app)
    assert calls == ["called"]


async def test_who_comes_late_hears_of_it_at_once(app: Service) -> None:
    calls: list[str] = []
    begin_shutdown(app)
    shutdown(app).at_begin(lambda: calls.append("called"))
    assert calls == ["called"]


async def test_connections_close_only_once_it_has_begun(client: Client) -> None:
    before = await client.get("/health/live")
    assert "Connection" not in before.headers
    begin_shutdown(client.app)
    for path, status in [("/health/live", 200), ("/health/ready", 503), ("/nowhere", 404)]:
        answer = await client.get(path)
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
