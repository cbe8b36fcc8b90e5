"""The service several times in one run: on each server, with each interpreter."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from benchmarks.peers import Peer

SERVICE = "service"
SERVERS = ("hypercorn", "uvicorn")


def expand(
    peers: Sequence[Peer], servers: Sequence[str], pythons: Mapping[str, Path]
) -> list[Peer]:
    """The peers, and in the service's place one for each server and each Python, by its version.

    The first Python has no place in a name, and neither has Hypercorn, the service's default.
    """
    first = next(iter(pythons))
    expanded: list[Peer] = []
    for peer in peers:
        if peer.name != SERVICE:
            expanded.append(peer)
            continue
        for server, version in product(servers, pythons):
            default = server == SERVERS[0]
            parts = [SERVICE, "" if default else server, "" if version == first else version]
            command = peer.command if default else f"{peer.command} --server {server}"
            name = "-".join(filter(None, parts))
            expanded.append(replace(peer, name=name, command=command, python=pythons[version]))
    return expanded


def services(names: Sequence[str]) -> list[str]:
    """Those of the names that `expand` gives the service."""
    return [name for name in names if name.partition("-")[0] == SERVICE]
