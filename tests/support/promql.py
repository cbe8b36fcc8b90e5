"""The expressions of deploy/monitoring/ and docs/runbook.md, and the names in them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from service.settings import PROJECT

MONITORING: Final = PROJECT / "deploy" / "monitoring"
RULES: Final = MONITORING / "prometheus" / "rules.yml"
DASHBOARD: Final = MONITORING / "grafana" / "dashboards" / "service.json"
RUNBOOK: Final = PROJECT / "docs" / "runbook.md"

# Duration in brackets, text, number, name, anything else.
_TOKEN: Final = re.compile(r'\[[^\]]*\]|"[^"]*"|[\d.]+(?:e\d+)?|[A-Za-z_:][\w:]*|[=!<>]=|[=!]~|\S')
_NAME: Final = re.compile(r"[A-Za-z_:][\w:]*")
_GROUPING: Final = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS: Final = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass
class Parsed:
    """What an expression names: metrics with the labels asked of them, and other labels."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    grouping: set[str] = field(default_factory=set)
    # Labels that the expression itself makes.
    made: set[str] = field(default_factory=set)
    # The expression without its selectors.
    rest: list[str] = field(default_factory=list)


def parse(expression: str) -> Parsed:
    """Find the names in an expression."""
    parsed, tokens = Parsed(), _TOKEN.findall(expression)
    while tokens:
        token = tokens.pop(0)
        following = tokens[0] if tokens else ""
        if not _NAME.fullmatch(token) or token.lower() in _WORDS or token in _GROUPING:
            if token in _GROUPING and following == "(":
                parsed.grouping |= set(_inside(tokens, ")"))
            else:
                parsed.rest.append(token)
        elif following == "(":
            parsed.rest.append(token)
            if token == "label_replace":
                parsed.made |= set(re.findall(r'\), *"(\w+)"|\}, *"(\w+)"', expression)[0]) - {""}
        else:
            labels = set(_inside(tokens, "}")[::3]) if following == "{" else set()
            parsed.metrics.setdefault(token, set()).update(labels)
    return parsed


def _inside(tokens: list[str], end: str) -> list[str]:
    """Take the tokens up to the end of a bracket, without commas."""
    stop = tokens.index(end)
    taken = [token for token in tokens[1:stop] if token != ","]
    del tokens[: stop + 1]
    return taken


def rules() -> list[dict[str, Any]]:
    """Every rule, recording or alerting."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    """The names of the series that rules record."""
    return {rule["record"] for rule in rules() if "record" in rule}


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, rows among them."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the place where it stands."""
    for rule in rules():
        yield f"rule {rule.get('record') or rule['alert']}", rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for query in re.findall(r"```promql\n(.*?)```", RUNBOOK.read_text(), re.DOTALL):
        yield "runbook", query
