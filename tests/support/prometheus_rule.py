"""The PrometheusRule of deploy/kubernetes/, made from Prometheus' own file of rules.

`python -m tests.support.prometheus_rule` writes it anew.
"""

from pathlib import Path
from typing import Any, Final

import yaml

from service.settings import PROJECT

RULES: Final = PROJECT / "deploy" / "monitoring" / "prometheus" / "rules.yml"
RESOURCE: Final = PROJECT / "deploy" / "kubernetes" / "base" / "prometheus-rule.yaml"
HEAD: Final = """\
# The rules of deploy/monitoring/prometheus/rules.yml, where they are explained, for the Prometheus
# operator. `make rules` writes this file anew; tests/test_kubernetes.py holds both equal.
"""


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, as people write them."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def groups() -> list[dict[str, Any]]:
    """The groups of rules."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return found


def render() -> str:
    """The text of the resource."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "service"},
        "spec": {"groups": groups()},
    }
    text = yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return HEAD + text


def main(path: Path = RESOURCE) -> None:
    """Write the resource."""
    path.write_text(render())


if __name__ == "__main__":
    main()
