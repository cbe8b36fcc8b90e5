"""deploy/monitoring/: alerts with their runbook, and compose's profile. Nothing of it runs here."""

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from service.audit.events import Kind
from service.cli import NAMES
from service.db.engine import create_engine
from service.settings import PROJECT
from service.testing.application import make_settings
from tests.support import promql
from tests.support.promql import DASHBOARD, MONITORING, RUNBOOK

COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
MONITORS = {
    name: block for name, block in COMPOSE.items() if "monitoring" in block.get("profiles", ())
}
PROMETHEUS = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())

each_alert = pytest.mark.parametrize("alert", promql.alerts().values(), ids=promql.alerts())


def runbook_entries() -> dict[str, str]:
    """The text below each heading of the third level, by its anchor."""
    parts = re.split(r"(?m)^##+ (.*)$", RUNBOOK.read_text())
    return dict(zip((title.lower() for title in parts[1::2]), parts[2::2], strict=True))


@each_alert
def test_alert_has_what_a_person_on_call_needs(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert PROJECT / page == RUNBOOK
    entry = runbook_entries()[anchor]
    assert alert["alert"].lower() in anchor + entry.lower()
    order = [entry.find(f"**{part}**:") for part in ("Means", "Look at", "Do")]
    assert -1 < order[0] < order[1] < order[2]


def test_runbook_s_entries_are_those_of_alerts() -> None:
    named = {
        alert["annotations"]["runbook_url"].partition("#")[2] for alert in promql.alerts().values()
    }
    assert {anchor for anchor in runbook_entries() if anchor.startswith("service")} == named


async def test_runbook_s_sql_works(database_url: str) -> None:
    engine = create_engine(make_settings(database_url=database_url))
    statements = re.findall(r"```sql\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    assert statements
    async with engine.connect() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()


def test_runbook_s_commands_and_events_exist() -> None:
    text = RUNBOOK.read_text()
    assert set(re.findall(r"(?m)(?:^|`)service ([a-z-]+)", text)) <= set(NAMES)
    assert set(re.findall(r"\?kind=([\w.]+)", text)) <= {str(kind) for kind in Kind}


@each_alert
def test_alert_only_compares_series_with_numbers(alert: dict[str, Any]) -> None:
    """So that what it compares can be asked for: an alert itself says nothing while all is well."""
    comparison = r"(?:[<>]|[=!<>]=) (?:Inf|[\d.e]+)(?: \* [\d.]+)?"
    parts = re.split(r"\s+(?:and|or|unless)\s+", alert["expr"].strip())
    for part in parts:
        assert re.fullmatch(rf"[\w:]+(?:\{{[^}}]*\}})? {comparison}", part), part


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((MONITORING / "prometheus" / "rules_test.yml").read_text())
    checks = [check for case in cases["tests"] for check in case["alert_rule_test"]]
    for fires in (True, False):
        named = {check["alertname"] for check in checks if bool(check["exp_alerts"]) is fires}
        assert named == set(promql.alerts())
    groups = [group["name"] for group in yaml.safe_load(promql.RULES.read_text())["groups"]]
    assert cases["group_eval_order"] == groups


def test_burn_rates_are_those_of_the_workbook() -> None:
    """The SRE workbook, chapter 5: factor, long window and short window."""
    found = set()
    for name, alert in promql.alerts().items():
        if "Burn" in name:
            windows = re.findall(r":ratio(\w+) > ([\d.]+) \* (0.001|0.01)", alert["expr"])
            (long, factor, budget), (short, *same) = windows
            assert same == [factor, budget]
            assert budget == ("0.001" if "Errors" in name else "0.01")
            found.add((budget, factor, long, short))
    rates = {("14.4", "1h", "5m"), ("6", "6h", "30m"), ("3", "1d", "2h"), ("1", "3d", "6h")}
    assert found == {(budget, *rate) for budget in ("0.001", "0.01") for rate in rates}


def test_dashboard_s_panels_have_their_places_and_ask_the_chosen_source() -> None:
    panels = promql.panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    for panel in panels:
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "job", "instance", "route"]
    used = set(re.findall(r"\$([a-z_]\w*)", " ".join(text for _, text in promql.expressions())))
    assert used == {"job", "instance", "route", "__rate_interval"}


def test_compose_starts_what_shows_metrics_and_traces() -> None:
    assert set(MONITORS) == {"prometheus", "grafana", "collector", "jaeger"}
    assert "--enable-feature=exemplar-storage" in MONITORS["prometheus"]["command"]
    grafana = MONITORS["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert MONITORS["grafana"]["ports"] == ["127.0.0.1:3000:3000"]
    assert "http://127.0.0.1:3000 " in (PROJECT / "docs" / "operations.md").read_text()


def test_grafana_asks_nothing_of_the_internet() -> None:
    environment = MONITORS["grafana"]["environment"]
    switches = {
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
        # Else it fetches the keys of plugins' signatures each few days.
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
    }
    assert switches.items() <= environment.items()


def test_viewers_of_grafana_may_open_the_trace_that_a_point_leads_to() -> None:
    assert MONITORS["grafana"]["environment"]["GF_USERS_VIEWERS_CAN_EDIT"] == "true"


@pytest.mark.parametrize("name", MONITORS)
def test_monitoring_container_is_confined_and_limited(name: str) -> None:
    block = MONITORS[name]
    assert block["read_only"] is True
    assert block["cap_drop"] == ["ALL"]
    assert block["security_opt"] == ["no-new-privileges:true"]
    assert block["mem_limit"]
    assert re.fullmatch(r"[\w-]+/[\w-]+:v?\d+\.\d+\.\d+", block["image"])
    assert all(port.startswith("127.0.0.1:") for port in block.get("ports", ()))


def test_mounted_files_exist_where_the_programs_look() -> None:
    mounts = [mount for block in MONITORS.values() for mount in block.get("volumes", ())]
    sources = [source for source in mounts if source.startswith("./")]
    assert len(sources) == 5
    for source in sources:
        path, _, mode = source.split(":")
        assert (PROJECT / path).exists()
        assert mode == "ro"
    provider = yaml.safe_load(
        (MONITORING / "grafana/provisioning/dashboards/dashboards.yml").read_text()
    )
    folder = provider["providers"][0]["options"]["path"]
    assert f"./deploy/monitoring/grafana/dashboards:{folder}:ro" in mounts
    home = MONITORS["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/{DASHBOARD.name}"


def test_prometheus_scrapes_the_containers_of_the_service_by_their_names() -> None:
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    ((api,), (worker,)) = (jobs[name]["dns_sd_configs"] for name in ("service", "service-worker"))
    assert (api["names"], api["type"], api["port"]) == (["api"], "A", 8000)
    assert (worker["names"], worker["type"]) == (["worker"], "A")
    bind = COMPOSE["worker"]["environment"]["WORKER_METRICS_BIND"]
    assert bind == f"0.0.0.0:{worker['port']}"
    assert {"api", "worker"} <= set(COMPOSE)


def test_traces_go_from_the_service_through_the_collector_to_jaeger() -> None:
    collector = yaml.safe_load((MONITORING / "collector.yml").read_text())
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"
    assert collector["exporters"]["otlp"]["endpoint"] == "jaeger:4317"
    jaeger = yaml.safe_load((MONITORING / "jaeger.yml").read_text())
    assert jaeger["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "0.0.0.0:4317"
    for config in (collector, jaeger):
        for pipeline in config["service"]["pipelines"].values():
            for kind, names in pipeline.items():
                assert set(names) <= set(config[kind])
    sources = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/datasources.yml").read_text()
    )
    urls = {source["uid"]: source["url"] for source in sources["datasources"]}
    port = jaeger["extensions"]["jaeger_query"]["http"]["endpoint"].rpartition(":")[2]
    assert urls == {"prometheus": "http://prometheus:9090", "jaeger": f"http://jaeger:{port}"}
    for name in ("api", "worker"):
        endpoint = COMPOSE[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert endpoint == "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"
