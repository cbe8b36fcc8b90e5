"""kustomize, as far as deploy/kubernetes/ uses it.

The tests do without kubectl. What this does not know is refused, so that nothing is passed over in
silence.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import yaml

from service.settings import PROJECT

FOLDER: Final = PROJECT / "deploy" / "kubernetes"
OVERLAY: Final = FOLDER / "overlays" / "example"
KNOWN: Final = frozenset(
    {"apiVersion", "kind", "namespace", "resources", "components", "patches", "images"}
)
# The member that names an item of a list in Kubernetes' own resources, where there is one.
MERGE_KEYS: Final = ("mountPath", "name", "topologyKey")
# Kinds that belong to no namespace.
CLUSTER_WIDE: Final = frozenset({"Namespace"})

Document = dict[str, Any]


def read(path: Path) -> list[Document]:
    """The documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def build(folder: Path) -> list[Document]:
    """The documents that `kubectl apply --kustomize` would send."""
    return _apply(folder, [])


def listed(folder: Path) -> Iterator[Path]:
    """The files and folders that a kustomization names, itself among them."""
    path = folder / "kustomization.yaml"
    yield path
    (content,) = read(path)
    for name in content.get("resources", []) + content.get("components", []):
        found = (folder / name).resolve()
        yield from listed(found) if found.is_dir() else [found]
    for patch in content.get("patches", []):
        yield (folder / patch["path"]).resolve()


def identity(document: Document) -> tuple[str, str, str]:
    """What a patch is matched by."""
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def _apply(folder: Path, documents: list[Document]) -> list[Document]:
    (content,) = read(folder / "kustomization.yaml")
    assert content.keys() <= KNOWN, content.keys() - KNOWN
    for name in content.get("resources", []):
        found = folder / name
        documents += build(found) if found.is_dir() else read(found)
    for name in content.get("components", []):
        documents = _apply(folder / name, documents)
    for patch in content.get("patches", []):
        for change in read(folder / patch["path"]):
            (target,) = [item for item in documents if identity(item) == identity(change)]
            documents[documents.index(target)] = merge(target, change, target)
    for image in content.get("images", []):
        for document in documents:
            _set_image(document, image)
    for document in documents:
        if "namespace" in content and document["kind"] not in CLUSTER_WIDE:
            document["metadata"]["namespace"] = content["namespace"]
    assert len({identity(document) for document in documents}) == len(documents)
    return documents


def merge(value: Any, change: Any, document: Document) -> Any:
    """A strategic merge: null removes a member, and of a custom resource a list is replaced."""
    if isinstance(value, dict) and isinstance(change, dict):
        merged = {**value}
        for key, changed in change.items():
            merged[key] = merge(value[key], changed, document) if key in value else changed
        return {key: item for key, item in merged.items() if item is not None}
    own = "." not in document["apiVersion"].partition("/")[0]
    if own and isinstance(value, list) and (key := _merge_key(change)):
        merged_items = {item[key]: item for item in value}
        for item in change:
            before = merged_items.get(item[key], {})
            merged_items[item[key]] = merge(before, item, document)
        return list(merged_items.values())
    return change


def _merge_key(items: list[Any]) -> str | None:
    for key in MERGE_KEYS:
        if all(isinstance(item, dict) and key in item for item in items):
            return key
    return None


def _set_image(value: Any, image: dict[str, str]) -> None:
    if isinstance(value, dict):
        name = str(value.get("image", "")).partition(":")[0]
        if name == image["name"]:
            value["image"] = f"{image.get('newName', name)}:{image['newTag']}"
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _set_image(item, image)


def pod_of(document: Document) -> Document | None:
    """The specification of the pods that a document makes, if it makes any."""
    template = document.get("spec", {}).get("template")
    return cast(Document, template["spec"]) if template is not None else None
