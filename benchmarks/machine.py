"""What the figures depend on: the machine, the interpreters, the libraries, the commit."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.data import ROOT

LIBRARIES = (
    "hypercorn",
    "quart",
    "sqlalchemy",
    "asyncpg",
    "uvloop",
    "h11",
    "pydantic",
    "flask",
    "flask-sqlalchemy",
    "psycopg2-binary",
    "gunicorn",
    "fastapi",
    "starlette",
    "uvicorn",
    "httptools",
    "granian",
)
LIST = """import importlib.metadata as m, json, platform
versions = {d.name.lower().replace("_", "-"): d.version for d in m.distributions()}
print(json.dumps({"python": platform.python_version()} | versions))"""


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def pick(versions: dict[str, str]) -> dict[str, str]:
    return {name: versions[name] for name in ("python", *LIBRARIES) if name in versions}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def version(python: Path) -> str:
    """The interpreter's version, such as 3.13. Raises OSError when there is none."""
    return output(str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


def describe(pythons: Iterable[Path], postgres: str) -> dict[str, object]:
    """The environment of a run, for its report."""
    own = {found.name.lower().replace("_", "-"): found.version for found in distributions()}
    own["python"] = platform.python_version()
    return {
        "commit": output("git", "rev-parse", "--verify", "--quiet", "HEAD") or None,
        "modified": bool(output("git", "status", "--porcelain")),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
        "postgresql": postgres,
        "production": [pick(json.loads(output(str(one), "-c", LIST))) for one in pythons],
        "bench": pick(own),
        "arguments": sys.argv[1:],
    }
