"""`python -m benchmarks`: run the plan that the options say, print and keep its figures."""

import argparse
import asyncio
import json
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError

import uvloop
from rich.console import Console

from benchmarks import chart, markdown, peers, report, scenarios
from benchmarks.data import ROOT, cluster
from benchmarks.load import LoadError
from benchmarks.machine import describe, version
from benchmarks.peers import PEERS
from benchmarks.processes import ServerError
from benchmarks.run import Plan, measure_all
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import Place
from benchmarks.variants import SERVERS, expand

RESULTS = Path(__file__).parent / "results"
QUICK = {"peers": "service,bare", "scenarios": "post,list", "rounds": 3, "seconds": 2.0}


def whole(text: str) -> int:
    """A positive whole number; argparse reports the ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the service beside its peers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one post and the list, service and bare server only")
    add("--peers", default=",".join(peers.DEFAULT), help=f"of {', '.join(PEERS)}")
    add("--scenarios", default=",".join(scenarios.DEFAULT), help=f"of {', '.join(SCENARIOS)}")
    add("--posts", default="100000,1000000", help="how many posts there are, one run for each")
    add("--rounds", type=whole, default=3)
    add("--seconds", type=float, default=5.0, help="length of one measurement")
    add("--requests", type=whole, help="end a measurement after so many requests, too")
    add("--connections", type=whole, default=64)
    add("--server", default=SERVERS[0], help=f"what serves the service, of {', '.join(SERVERS)}")
    add("--python", type=Path, default=ROOT / ".venv/bin/python", help="the service's interpreter")
    add("--pythons", metavar="PATHS", help="measure the service with each of these instead")
    add("--postgres", metavar="URL", help="a PostgreSQL of this machine, not the embedded one")
    add("--data", type=Path, default=RESULTS / "postgresql", help="the embedded one's folder")
    if "--quick" in arguments:
        parser.set_defaults(**QUICK)
    options = parser.parse_args(arguments)
    known: dict[str, Mapping[str, object]] = {
        "peers": PEERS,
        "scenarios": SCENARIOS,
        "server": {name: name for name in SERVERS},
    }
    for name, values in known.items():
        chosen = getattr(options, name).split(",")
        if unknown := [item for item in chosen if item not in values]:
            parser.error(f"--{name}: unknown: {', '.join(unknown)}; known: {', '.join(values)}")
        setattr(options, name, [values[item] for item in chosen])
    paths = map(Path, options.pythons.split(",")) if options.pythons else [options.python]
    options.pythons = {version(path): path.absolute() for path in paths}
    options.peers = expand(options.peers, options.server, options.pythons)
    return options


def make_plan(options: argparse.Namespace) -> Plan:
    return Plan(
        peers=options.peers,
        scenarios=options.scenarios,
        sizes=[int(size) for size in options.posts.split(",")],
        rounds=options.rounds,
        seconds=options.seconds,
        requests=options.requests,
        connections=options.connections,
    )


def end_with_the_servers() -> None:
    """Unwind on SIGTERM and SIGHUP as on Ctrl-C, so that no server outlives the benchmark."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def allow_files() -> None:
    """Allow as many open files as there may be: each of the clients has one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def benchmark(options: argparse.Namespace, console: Console) -> None:
    end_with_the_servers()
    allow_files()
    plan = make_plan(options)
    folder = RESULTS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder.mkdir(parents=True)
    async with cluster(options.data, options.python, options.postgres, console.print) as postgres:
        environment = describe(options.pythons.values(), await postgres.version())
        place = Place(postgres, options.python, Path(sys.executable), folder)
        with console.status("Starting the servers …") as status:
            progress = status.update if console.is_terminal else console.print
            results = await measure_all(plan, place, progress)
    for name, value in environment.items():
        console.print(f"{name}: {value}")
    report.show(console, plan, results)
    figures = {
        size: {
            scenario: {
                peer: [asdict(sample) for sample in rounds] for peer, rounds in peers.items()
            }
            for scenario, peers in samples.items()
        }
        for size, samples in results.items()
    }
    document = {"environment": environment, "results": figures}
    (folder / "results.json").write_text(json.dumps(document, indent=1))
    chart.draw(results, folder / "chart.png")
    for size, samples in results.items():
        text = markdown.table(samples, [peer.name for peer in plan.peers])
        (folder / f"{size}.md").write_text(text)
    console.print(f"Kept in {folder}")


def main() -> None:
    if not sys.platform.startswith("linux"):
        sys.exit("The benchmark reads Linux's account of CPU time; it runs on Linux only.")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
    try:
        uvloop.run(benchmark(parse(sys.argv[1:]), console))
    except (HTTPError, LoadError, ServerError, TimeoutError) as error:
        sys.exit(f"The benchmark failed: {error}")
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("The benchmark was stopped.")


if __name__ == "__main__":
    main()
