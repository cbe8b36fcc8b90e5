"""Every document of deploy/kubernetes/ is valid by Kubernetes' own schemas, of four versions."""

import subprocess
from pathlib import Path

import pytest
import yaml

from service.settings import PROJECT
from tests.support.clients.tools import PROGRAMS
from tests.support.kustomize import FOLDER, OVERLAY, Document, build, read

CUSTOM = yaml.safe_load((PROJECT / "tests" / "support" / "custom_resources.yaml").read_text())
VERSIONS = """
from importlib import resources
import kubernetes_validate
folders = resources.files("kubernetes_validate").joinpath("kubernetes-json-schema").iterdir()
minors = {int(folder.name.split(".")[1]) for folder in folders if folder.name.startswith("v1.")}
print(*(f"1.{minor}" for minor in sorted(minors)[-4:]))
"""

pytestmark = pytest.mark.proof


def documents() -> list[Document]:
    """All of them: what is applied, the Secrets, and the component that the example leaves out."""
    roots = (OVERLAY, OVERLAY / "migrate", OVERLAY / "contract", FOLDER / "components" / "ingress")
    return [
        *(document for root in roots for document in build(root)),
        *read(OVERLAY / "secrets.example.yaml"),
    ]


def newest_versions() -> list[str]:
    """The newest version of Kubernetes whose schemas are there, and the three before."""
    done = subprocess.run(
        [PROGRAMS / "python", "-c", VERSIONS], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def validate(path: Path, version: str) -> tuple[int, list[str]]:
    """Exit code, and the lines that are no confirmation."""
    done = subprocess.run(
        [PROGRAMS / "kubernetes-validate", "--strict", "-k", version, path],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in lines if not line.startswith("INFO")]


def test_every_document_is_valid_in_the_newest_four_versions(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(documents()))
    versions = newest_versions()
    assert len(versions) == 4
    for version in versions:
        code, lines = validate(path, version)
        assert code == 0, lines
        # Without a schema there is a warning; tests/test_kubernetes.py has these kinds.
        unknown = {line.partition(" kind ")[2].split()[0] for line in lines}
        assert unknown == {kind.rpartition("/")[2] for kind in CUSTOM if "/" in kind}


def test_misspelt_member_is_found(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    container = {"name": "api", "image": "service:1.0.0", "readynessProbe": {}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wrong"}}
    path.write_text(yaml.safe_dump({**pod, "spec": {"containers": [container]}}))
    code, lines = validate(path, newest_versions()[-1])
    assert code == 1, lines
