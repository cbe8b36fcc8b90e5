"""The expressions of deploy/monitoring/ and docs/runbook.md, and the names in them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import yaml

from service.settings import PROJECT

MONITORING: Final = PROJECT / "deploy" / "monitoring"
RULES: Final = MONITORING / "prometheus" / "rules.yml"
DASHBOARD: Final = MONITORING / "grafana" / "dashboards" / "service.json"
RUNBOOK: Final = PROJECT / "docs" / "runbook.md"

# Duration in brackets, text, number, name, anything else.
_TOKEN: Final = re.compile(r'\[[^\]]*\]|"[^"]*"|[\d.]+(?:e\d+)?|[A-Za-z_:][\w:]*|[=!<>]=|[=!]~|\S')
# What an alert compares.
_SELECTOR: Final = re.compile(r"([\w:]+(?:\{[^}]*\})?) [<>=!]")
_NAME: Final = re.compile(r"[A-Za-z_:][\w:]*")
_GROUPING: Final = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_NO_NAMES: Final = {"and", "or", "unless", "bool", "offset", "inf", "nan"} | _GROUPING


@dataclass
class Selector:
    """A metric in an expression, with what is asked of its labels: name, operator, value."""

    metric: str
    matchers: list[tuple[str, str, str]]


@dataclass
class Parsed:
    """What an expression names: series, and labels that it groups by or makes itself."""

    selectors: list[Selector] = field(default_factory=list)
    grouping: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


def parse(expression: str) -> Parsed:
    """Find the names in an expression."""
    parsed, tokens = Parsed(), _TOKEN.findall(expression)
    while tokens:
        token = tokens.pop(0)
        following = tokens[0] if tokens else ""
        if token in _GROUPING and following == "(":
            parsed.grouping |= set(_inside(tokens, ")"))
        elif _NAME.fullmatch(token) and token.lower() not in _NO_NAMES and not _calls(following):
            inside = _inside(tokens, "}") if following == "{" else []
            matchers = zip(inside[::3], inside[1::3], inside[2::3], strict=True)
            parsed.selectors.append(
                Selector(token, [(name, how, value.strip('"')) for name, how, value in matchers])
            )
    # The label that label_replace() makes is its first text.
    parsed.made |= set(re.findall(r'label_replace\([^"]*(?:\{[^}]*\})?, "(\w+)"', expression))
    return parsed


def _calls(following: str) -> bool:
    """Whether a name that this follows is a function's."""
    return following == "(" or following in {"by", "without"}


def _inside(tokens: list[str], end: str) -> list[str]:
    """Take the tokens up to the end of a bracket, without commas."""
    stop = tokens.index(end)
    taken = [token for token in tokens[1:stop] if token != ","]
    del tokens[: stop + 1]
    return taken


@cache
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
    """The dashboard's panels, rows among them, and those in a row that is closed."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for one in found for panel in (one, *one.get("panels", ()))]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the place where it stands; of an alert all that it compares."""
    for rule in rules():
        if "record" in rule:
            yield f"rule {rule['record']}", rule["expr"]
        else:
            for selector in _SELECTOR.findall(rule["expr"]):
                yield f"rule {rule['alert']}", selector
    for panel in panels():
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for query in re.findall(r"```promql\n(.*?)```", RUNBOOK.read_text(), re.DOTALL):
        yield "runbook", query
