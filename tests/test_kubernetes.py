"""deploy/kubernetes/ fits together and fits the service: names, ports, settings, times."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
import yaml

from service.app import create_app
from service.settings import PROJECT, Settings, SettingsError, load_settings
from service.testing.application import SECRET
from service.worker.driver import POOL_SIZE
from tests.support import prometheus_rule
from tests.support.kustomize import (
    FOLDER,
    OVERLAY,
    Document,
    build,
    identity,
    listed,
    merge,
    pod_of,
    read,
)

ROOTS = {"example": OVERLAY, "migrate": OVERLAY / "migrate", "contract": OVERLAY / "contract"}
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
HYPERCORN = tomllib.loads((PROJECT / "hypercorn.toml").read_text())
CUSTOM = yaml.safe_load((PROJECT / "tests" / "support" / "custom_resources.yaml").read_text())
SECRETS = OVERLAY / "secrets.example.yaml"
# Connections of a process beside its pool: readiness and the event stream.
BESIDE_POOL = 2
# PostgreSQL's superuser_reserved_connections; and those of migrations, the operator and people.
SUPERUSERS, OTHERS = 3, 10
# What the operator makes for the Cluster service-db (CloudNativePG, "Connecting to PostgreSQL").
OPERATOR_SERVICES = {"service-db-rw": 5432, "service-db-ro": 5432}
OPERATOR_SECRETS = {"service-db-app": {"username", "password"}, "service-db-ca": {"ca.crt"}}

every = pytest.mark.parametrize("root", ROOTS)


@cache
def documents(root: str = "example") -> list[Document]:
    return build(ROOTS[root])


def find(kind: str, name: str, root: str = "example") -> Document:
    (found,) = [d for d in documents(root) if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> Iterator[tuple[Document, Document]]:
    """Each workload of the three kustomizations, with the specification of its pods."""
    for root in ROOTS:
        for document in documents(root):
            if (pod := pod_of(document)) is not None:
                yield document, pod


def container(kind: str, name: str, root: str = "example") -> dict[str, Any]:
    pod = pod_of(find(kind, name, root))
    assert pod is not None
    (found,) = pod["containers"]
    return dict(found)


def own_containers() -> Iterator[dict[str, Any]]:
    """The containers with the service's image."""
    for _, pod in pods():
        for found in pod["containers"]:
            if found["image"].partition(":")[0] == "service":
                yield found


def labels_match(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_every_file_is_listed_by_a_kustomization() -> None:
    roots = [*ROOTS.values(), *(path.parent for path in FOLDER.glob("components/*/*.yaml"))]
    named = {path for root in roots for path in listed(root)}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} - named == {SECRETS}
    assert [path for path in named if not path.exists()] == []


def test_overlay_sets_what_each_installation_has_of_its_own() -> None:
    """The bucket, too: its name is one of the whole world's."""
    base = {identity(document): document for document in build(FOLDER / "base")}
    store, cluster = find("ObjectStore", "service-backups"), find("Cluster", "service-db")
    own = store["spec"]["configuration"]["destinationPath"]
    assert own != base[identity(store)]["spec"]["configuration"]["destinationPath"]
    assert cluster["spec"]["storage"]["storageClass"]
    assert config()["PUBLIC_URL"].startswith("https://")


def test_secrets_of_the_example_are_not_applied() -> None:
    kinds = {document["kind"] for root in ROOTS for document in documents(root)}
    assert "Secret" not in kinds


def test_roll_out_and_migrations_share_namespace_and_image() -> None:
    placed = [d for root in ROOTS for d in documents(root) if d["kind"] != "Namespace"]
    spaces = {document["metadata"]["namespace"] for document in placed + read(SECRETS)}
    assert spaces == {"service"}
    assert find("Namespace", "service")
    assert len({found["image"] for found in own_containers()}) == 1


def test_images_have_tags() -> None:
    images = {found["image"] for _, pod in pods() for found in pod["containers"]}
    images.add(find("Cluster", "service-db")["spec"]["imageName"])
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:\d[\w.-]*", image)] == []


def test_image_of_valkey_and_its_command_are_compose_s() -> None:
    valkey = container("Deployment", "service-valkey")
    assert valkey["image"] == COMPOSE["services"]["valkey"]["image"]
    assert valkey["command"] == COMPOSE["services"]["valkey"]["command"]


def test_selectors_find_the_pods_that_they_are_for() -> None:
    labels = {
        document["metadata"]["name"]: document["spec"]["template"]["metadata"]["labels"]
        for document in documents()
        if document["kind"] == "Deployment"
    }
    selectors = {
        name: find("Deployment", name)["spec"]["selector"]["matchLabels"] for name in labels
    }
    for kind in ("Service", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy"):
        for document in documents():
            name = document["metadata"]["name"]
            if document["kind"] == kind and name in labels:
                spec = document["spec"]
                found = spec.get("selector", spec.get("podSelector"))
                selectors[f"{kind} {name}"] = found.get("matchLabels", found)
    assert len(selectors) == 3 + 2 + 2 + 1 + 3
    for name, selector in selectors.items():
        chosen = [own for own, given in labels.items() if labels_match(selector, given)]
        assert chosen == [name.split()[-1]], name


def test_pods_are_spread_by_their_own_labels() -> None:
    for document, pod in pods():
        for constraint in pod.get("topologySpreadConstraints", []):
            selector = constraint["labelSelector"]["matchLabels"]
            assert selector == document["spec"]["selector"]["matchLabels"]


def ports_of(name: str) -> dict[str, int]:
    ports = container("Deployment", name)["ports"]
    return {port["name"]: port["containerPort"] for port in ports}


def test_ports_are_those_on_which_the_service_listens() -> None:
    (bind,) = HYPERCORN["bind"]
    assert ports_of("service-api") == {"http": int(bind.rpartition(":")[2])}
    assert ports_of("service-worker") == {"metrics": 9100}
    assert environment("Deployment", "service-worker")["WORKER_METRICS_BIND"] == "0.0.0.0:9100"


def test_every_named_port_is_one_of_its_pods() -> None:
    for document, pod in pods():
        for found in pod["containers"]:
            names = {port["name"] for port in found.get("ports", [])}
            probes = [found[key] for key in found if key.endswith("Probe")]
            asked = {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe}
            assert asked <= names, document["metadata"]["name"]
    for name in ("service-api", "service-valkey"):
        (port,) = find("Service", name)["spec"]["ports"]
        assert port["targetPort"] in ports_of(name)
    (endpoint,) = find("PodMonitor", "service-worker")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in ports_of("service-worker")
    monitor = find("ServiceMonitor", "service-api")["spec"]
    service = find("Service", "service-api")
    assert labels_match(monitor["selector"]["matchLabels"], service["metadata"]["labels"])
    assert {e["port"] for e in monitor["endpoints"]} <= {
        p["name"] for p in service["spec"]["ports"]
    }


def test_scrapes_have_the_jobs_names_of_the_rules() -> None:
    monitors = [find("ServiceMonitor", "service-api"), find("PodMonitor", "service-worker")]
    specs = [monitor["spec"] for monitor in monitors]
    endpoints = [*specs[0]["endpoints"], *specs[1]["podMetricsEndpoints"]]
    jobs = {e["relabelings"][0]["replacement"] for e in endpoints if e["path"] == "/metrics"}
    prometheus = yaml.safe_load((prometheus_rule.RULES.parent / "prometheus.yml").read_text())
    assert jobs == {"service", "service-worker"}
    assert jobs <= {scrape["job_name"] for scrape in prometheus["scrape_configs"]}


def test_rules_are_those_of_prometheus_itself() -> None:
    assert find("PrometheusRule", "service")["spec"]["groups"] == prometheus_rule.groups()
    assert prometheus_rule.RESOURCE.read_text() == prometheus_rule.render()


def environment(kind: str, name: str, root: str = "example") -> dict[str, str]:
    """What stands in the manifests of a container's environment; secrets are empty."""
    found = container(kind, name, root)
    assert found["envFrom"] == [
        {"configMapRef": {"name": "service-config"}},
        {"secretRef": {"name": "service-secrets"}},
    ]
    values = dict(find("ConfigMap", "service-config")["data"])
    return values | {item["name"]: item.get("value", "") for item in found["env"]}


@pytest.mark.parametrize(
    ("root", "kind", "name"),
    [
        ("example", "Deployment", "service-api"),
        ("example", "Deployment", "service-worker"),
        ("migrate", "Job", "service-migrate"),
        ("contract", "Job", "service-contract"),
    ],
)
def test_environment_is_made_of_settings_that_production_takes(
    root: str, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = environment(kind, name, root)
    known = {field.upper() for field in Settings.model_fields}
    assert values.keys() - known == {"PGPASSWORD"}
    secrets = {"SECRET_KEY": SECRET, "SMTP_URL": "smtp://mail.example.com"}
    for variable, value in (values | secrets).items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.production
    for address in (settings.database_address, settings.replica_address):
        assert address is not None
        hosts = {host.name: host.port for host in address.hosts}
        assert hosts.items() <= OPERATOR_SERVICES.items()
        assert "sslmode=verify-full" in address.dsn
        assert f"sslrootcert={mounted_authority(root, kind, name)}" in unquote(address.dsn)


def mounted_authority(root: str, kind: str, name: str) -> str:
    """Where the certificate of the database's authority is in a container."""
    mounts = {m["name"]: m["mountPath"] for m in container(kind, name, root)["volumeMounts"]}
    pod = pod_of(find(kind, name, root))
    assert pod is not None
    (volume,) = [
        v for v in pod["volumes"] if v.get("secret", {}).get("secretName") == "service-db-ca"
    ]
    (item,) = volume["secret"]["items"]
    return f"{mounts[volume['name']]}/{item['path']}"


def test_keys_of_secrets_are_there() -> None:
    known = {d["metadata"]["name"]: set(d["stringData"]) for d in read(SECRETS)} | OPERATOR_SECRETS
    for _, pod in pods():
        for found in pod["containers"]:
            for variable in found.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["key"] in known[reference["name"]]
        for volume in pod["volumes"]:
            if "secret" in volume:
                items = volume["secret"].get("items", [])
                assert {item["key"] for item in items} <= known[volume["secret"]["secretName"]]
    credentials = find("ObjectStore", "service-backups")["spec"]["configuration"]["s3Credentials"]
    for reference in credentials.values():
        assert reference["key"] in known[reference["name"]]
    names = {field.upper() for field in Settings.model_fields}
    assert known["service-secrets"] <= names


@pytest.mark.parametrize("name", ["SECRET_KEY", "ENCRYPTION_KEYS"])
def test_secrets_of_the_example_are_refused_by_production(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = {d["metadata"]["name"]: d["stringData"] for d in read(SECRETS)}["service-secrets"]
    own = {"SECRET_KEY": SECRET, "ENCRYPTION_KEYS": "", "SMTP_URL": examples["SMTP_URL"]}
    assert own.keys() == examples.keys()
    values = environment("Deployment", "service-api") | own | {name: examples[name]}
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_references_between_documents_lead_somewhere() -> None:
    scaled = find("HorizontalPodAutoscaler", "service-api")["spec"]["scaleTargetRef"]
    api = find("Deployment", scaled["name"])
    assert identity(api) == (scaled["apiVersion"], scaled["kind"], "service-api")
    assert "replicas" not in api["spec"]
    (plugin,) = find("Cluster", "service-db")["spec"]["plugins"]
    assert find("ObjectStore", plugin["parameters"]["barmanObjectName"])
    backup = find("ScheduledBackup", "service-db")["spec"]
    assert find("Cluster", backup["cluster"]["name"])
    assert backup["pluginConfiguration"]["name"] == plugin["name"]
    assert config()["REDIS_URL"].startswith("redis://service-valkey:6379/")
    (port,) = find("Service", "service-valkey")["spec"]["ports"]
    assert port["port"] == 6379


def config() -> dict[str, str]:
    return dict(find("ConfigMap", "service-config")["data"])


def test_pod_of_the_api_is_killed_only_after_its_own_end() -> None:
    pod = pod_of(find("Deployment", "service-api"))
    assert pod is not None
    before = container("Deployment", "service-api")["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(environment("Deployment", "service-api")["DRAIN_SECONDS"])
    needed = before + drain + HYPERCORN["graceful_timeout"] + HYPERCORN["shutdown_timeout"]
    assert needed < pod["terminationGracePeriodSeconds"] <= needed + 5


def test_pod_of_the_worker_is_killed_only_after_a_mail_may_have_ended() -> None:
    pod = pod_of(find("Deployment", "service-worker"))
    assert pod is not None
    stop = COMPOSE["services"]["worker"]["stop_grace_period"]
    assert f"{pod['terminationGracePeriodSeconds']}s" == stop


def test_worker_is_checked_by_its_heartbeat_file() -> None:
    file = environment("Deployment", "service-worker")["WORKER_HEARTBEAT_FILE"]
    check = COMPOSE["services"]["worker"]["healthcheck"]["test"][1]
    worker = container("Deployment", "service-worker")
    assert worker["startupProbe"]["exec"]["command"] == ["test", "-e", file]
    assert worker["livenessProbe"]["exec"]["command"] == ["sh", "-c", check]
    assert file in check
    assert file.startswith("/tmp/")


def test_readiness_is_asked_each_two_seconds_and_waits_for_the_database_s_answer() -> None:
    api = container("Deployment", "service-api")
    probes = {key: api[key]["httpGet"]["path"] for key in api if key.endswith("Probe")}
    assert probes == {
        "startupProbe": "/health/live",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    }
    assert api["readinessProbe"]["periodSeconds"] == 2
    assert api["readinessProbe"]["timeoutSeconds"] > 2


def test_roll_out_takes_no_pod_away_before_another_is_ready() -> None:
    for name in ("service-api", "service-worker"):
        strategy = find("Deployment", name)["spec"]["strategy"]
        assert strategy["rollingUpdate"]["maxUnavailable"] == 0


def test_pods_are_restricted() -> None:
    labels = find("Namespace", "service")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for document, pod in pods():
        assert pod["automountServiceAccountToken"] is False
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        own = document["metadata"]["labels"]["app.kubernetes.io/name"] == "service"
        assert context["runAsUser"] == (10001 if own else 999)
        for found in pod["containers"]:
            assert found["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= found["resources"].keys()
            assert "/tmp" in {mount["mountPath"] for mount in found["volumeMounts"]}
    user = re.search(r"(?m)^USER (\d+):", (PROJECT / "Dockerfile").read_text())
    assert user is not None
    assert user[1] == "10001"


def connections_left(at_most: int, worker: int) -> int:
    """The connections of a server that are left for the API beside two sets of workers."""
    replicas: int = find("Deployment", "service-worker")["spec"]["replicas"]
    return at_most - SUPERUSERS - OTHERS - 2 * replicas * worker


def test_most_processes_are_what_max_connections_allows_in_a_roll_out() -> None:
    """As many old pods may still be ending as new ones serve."""
    parameters = find("Cluster", "service-db")["spec"]["postgresql"]["parameters"]
    allowed, pool = int(parameters["max_connections"]), int(config()["DATABASE_POOL_SIZE"])
    scaler = find("HorizontalPodAutoscaler", "service-api")["spec"]
    # One more for the position of the primary's log; a worker has its queue and its listener.
    process, worker = pool + BESIDE_POOL + 1, pool + POOL_SIZE + 1
    assert scaler["maxReplicas"] == connections_left(allowed, worker) // (2 * process)
    # All may read one standby.
    assert 2 * scaler["maxReplicas"] * (pool + 1) <= allowed - SUPERUSERS - OTHERS


@pytest.mark.parametrize("file", ["base/autoscaler.yaml", "../../docs/kubernetes.md"])
def test_arithmetic_of_connections_is_written_with_its_numbers(file: str) -> None:
    text = (FOLDER / file).resolve().read_text()
    parameters = find("Cluster", "service-db")["spec"]["postgresql"]["parameters"]
    pool, allowed = int(config()["DATABASE_POOL_SIZE"]), int(parameters["max_connections"])
    worker = pool + POOL_SIZE + 1
    most = find("HorizontalPodAutoscaler", "service-api")["spec"]["maxReplicas"]
    for number in (allowed, allowed - SUPERUSERS - OTHERS, worker, most):
        assert re.search(rf"\b{number}\b", text), number
    assert re.search(rf"\b{connections_left(allowed, worker)}\b", text)


def test_jobs_migrate_before_and_after_the_roll_out() -> None:
    migrate = container("Job", "service-migrate", "migrate")["command"]
    contract = container("Job", "service-contract", "contract")["command"]
    assert migrate[:3] == ["service", "migrate", "--wait"]
    assert contract == ["service", "migrate", "--contract"]
    for root in ("migrate", "contract"):
        (job,) = documents(root)
        assert {"ttlSecondsAfterFinished", "backoffLimit"} <= job["spec"].keys()
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_network_is_closed_but_for_what_is_needed() -> None:
    closed = find("NetworkPolicy", "service-default-deny")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name in ("service-api", "service-worker"):
        (rule,) = find("NetworkPolicy", name)["spec"]["ingress"]
        assert {port["port"] for port in rule["ports"]} == ports_of(name).keys()
    reached = {
        port["port"]
        for name in ("service-dns", "service-to-database", "service-api", "service-worker")
        for rule in find("NetworkPolicy", name)["spec"]["egress"]
        for port in rule.get("ports", [])
    }
    assert reached == {53, 5432, 6379, 443, 4318, 25, 465, 587}


def test_worker_reaches_the_public_address_at_the_pods_behind_it() -> None:
    """A policy sees the address and the port that a Service was translated to."""
    (clients, _) = find("NetworkPolicy", "service-api")["spec"]["ingress"][0]["from"]
    egress = find("NetworkPolicy", "service-worker")["spec"]["egress"]
    assert {"to": [clients]} in egress


def public_paths(kind: str) -> list[tuple[str, str]]:
    """The paths that a way in from outside lets through, each with its type."""
    if kind == "HTTPRoute":
        rules = find("HTTPRoute", "service")["spec"]["rules"]
        matches = [match["path"] for rule in rules for match in rule["matches"]]
        return [(match["type"], match["value"]) for match in matches]
    (ingress,) = read(FOLDER / "components" / "ingress" / "ingress.yaml")
    (rule,) = ingress["spec"]["rules"]
    return [(path["pathType"], path["path"]) for path in rule["http"]["paths"]]


@pytest.mark.parametrize("kind", ["HTTPRoute", "Ingress"])
def test_public_reaches_every_route_but_metrics(kind: str, settings: Settings) -> None:
    def is_open(path: str) -> bool:
        return any(
            path == given or ("Prefix" in match and path.startswith(f"{given}/"))
            for match, given in public_paths(kind)
        )

    routes = {rule.rule for rule in create_app(settings).url_map.iter_rules()}
    closed = {route for route in routes if not is_open(route)}
    assert closed == {"/metrics"}


def test_streams_have_no_time_limit_at_the_gateway() -> None:
    rules = find("HTTPRoute", "service")["spec"]["rules"]
    (stream,) = [r for r in rules if r["matches"][0]["path"]["value"] == "/api/posts/stream"]
    assert stream["timeouts"] == {"request": "0s", "backendRequest": "0s"}


def test_ways_in_lead_to_the_api() -> None:
    (port,) = find("Service", "service-api")["spec"]["ports"]
    for rule in find("HTTPRoute", "service")["spec"]["rules"]:
        assert rule["backendRefs"] == [{"name": "service-api", "port": port["port"]}]
    (ingress,) = read(FOLDER / "components" / "ingress" / "ingress.yaml")
    for path in ingress["spec"]["rules"][0]["http"]["paths"]:
        assert path["backend"]["service"] == {"name": "service-api", "port": {"name": port["name"]}}


def test_one_proxy_is_trusted() -> None:
    assert config()["TRUSTED_PROXIES"] == "1"


def with_keys(tmp_path: Path) -> list[Document]:
    """The example with the component of signing keys."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    content = {
        "resources": [str(FOLDER / "base")],
        "components": [str(FOLDER / "components" / "jwt-keys")],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return build(folder)


def test_signing_keys_are_mounted_where_the_setting_says(tmp_path: Path) -> None:
    before = container("Deployment", "service-api")
    wanted = identity(find("Deployment", "service-api"))
    (api,) = [document for document in with_keys(tmp_path) if identity(document) == wanted]
    pod = pod_of(api)
    assert pod is not None
    (changed,) = pod["containers"]
    values = {item["name"]: item.get("value") for item in changed["env"]}
    mounts = {mount["name"]: mount for mount in changed["volumeMounts"]}
    assert values.keys() == {item["name"] for item in before["env"]} | {
        "JWT_KEYS_DIR",
        "JWT_SIGNING_KEY",
    }
    assert mounts["jwt-keys"]["mountPath"] == values["JWT_KEYS_DIR"]
    assert "subPath" not in mounts["jwt-keys"]
    keys = {d["metadata"]["name"]: d["stringData"] for d in read(SECRETS)}["service-jwt-keys"]
    assert f"{values['JWT_SIGNING_KEY']}.pem" in keys


@every
def test_custom_resources_have_the_members_that_their_operators_document(root: str) -> None:
    for document in documents(root):
        kind = f"{document['apiVersion']}/{document['kind']}"
        if kind in CUSTOM:
            jsonschema.validate(document["spec"], CUSTOM[kind])


def test_misspelt_member_of_a_custom_resource_is_found() -> None:
    spec = find("Cluster", "service-db")["spec"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**spec, "instance": 3}, CUSTOM["postgresql.cnpg.io/v1/Cluster"])


def test_restore_of_the_documentation_is_a_patch_of_the_cluster() -> None:
    text = (PROJECT / "docs" / "kubernetes.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    cluster = find("Cluster", "service-db")
    patch = yaml.safe_load(block)
    assert identity(patch) == identity(cluster)
    spec = merge(cluster, patch, cluster)["spec"]
    jsonschema.validate(spec, CUSTOM["postgresql.cnpg.io/v1/Cluster"])
    assert spec["bootstrap"].keys() == {"recovery"}
    (origin,) = spec["externalClusters"]
    assert origin["name"] == spec["bootstrap"]["recovery"]["source"]
    (plugin,) = spec["plugins"]
    assert plugin["parameters"]["serverName"] != origin["plugin"]["parameters"]["serverName"]


def test_commands_of_the_documentation_name_folders_and_objects_that_are_there() -> None:
    text = (PROJECT / "docs" / "kubernetes.md").read_text()
    folders = set(re.findall(r"--kustomize (\S+)", text))
    assert len(folders) == 3
    for folder in folders:
        assert (PROJECT / folder / "kustomization.yaml").exists(), folder
    kinds = {"deployment": "Deployment", "job": "Job", "cluster": "Cluster", "secret": "Secret"}
    known = {(d["kind"], d["metadata"]["name"]) for root in ROOTS for d in documents(root)}
    known |= {("Secret", d["metadata"]["name"]) for d in read(SECRETS)}
    for kind, name in re.findall(r"\b(deployment|job|cluster|secret)/([\w-]+)", text):
        assert (kinds[kind], name) in known, (kind, name)


def test_times_grow_from_probe_to_end() -> None:
    """What sees the end of a pod does so before the port closes."""
    api = container("Deployment", "service-api")
    readiness = api["readinessProbe"]
    seen = readiness["periodSeconds"] * readiness["failureThreshold"]
    drain = float(environment("Deployment", "service-api")["DRAIN_SECONDS"])
    assert all(earlier < later for earlier, later in pairwise((seen, drain)))
