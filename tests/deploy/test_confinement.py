"""Every service of every file that deploys Headwise is held to each property of confinement."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jobs.settings import Settings, load_settings
from tests.helpers.ports import free_port
from tools.lock import needed
from workers.heartbeat import DEAD_MAN_SECONDS

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
RESOURCES = [
    one
    for file in sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))
    for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]
PODS = {
    one["metadata"].get("name", "headwise-drain"): one["spec"]["template"]
    for one in RESOURCES
    if one["kind"] in ("Deployment", "Job")
}
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
SIZE = re.compile(r"\d+[kmg]", re.IGNORECASE)


# Compose.


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]  # and not seccomp:unconfined
    assert service["user"] not in ("root", "0")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"memory", "pids"} <= limits.keys()
    assert "cpus" in limits or name == "worker"  # which computes: it may have what there is
    places = [entry.split(":") for entry in service["tmpfs"]]
    assert {"/tmp"} <= {place for place, _ in places}
    for _, options in places:
        assert SIZE.fullmatch(dict(o.split("=") for o in options.split(","))["size"])


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_dashboard_has_a_port_and_services_have_no_way_out(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert bool(service.get("ports")) == (name == "web")
    if "build" not in service:
        assert service["networks"] == ["services"]
    assert COMPOSE["networks"]["services"] == {"internal": True}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_can_be_given_by_digest(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert service["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE:-")
    else:
        assert service["image"].startswith(f"${{{name.upper()}_IMAGE:-")


def test_a_backend_of_postgresql_may_not_take_the_servers_memory() -> None:
    assert SERVICES["postgres"]["ulimits"] == {"data": 1 << 30}


@pytest.mark.services
def test_redis_asks_for_the_password_and_its_check_knows_it(tmp_path: Path) -> None:
    if not shutil.which("redis-server") or not shutil.which("redis-cli"):
        pytest.skip("needs redis-server and redis-cli")
    shutil.copy(ROOT / "docker/make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    conf = str(tmp_path / "secrets/redis.conf")
    port = str(free_port())
    command = [conf if one == "/run/secrets/redis.conf" else one for one in _redis("command")]
    [kind, check] = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    check = check.replace("$$", "$").replace("/run/secrets/redis.conf", conf)
    check = check.replace("redis-cli", f"redis-cli -p {port}")
    server = subprocess.Popen(
        [*command, "--port", port, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        assert _succeeds(f"for i in $(seq 100); do {check} && exit 0; sleep 0.1; done; exit 1")
        asked = subprocess.run(
            ["redis-cli", "-p", port, "ping"], capture_output=True, text=True, check=False
        )
        assert "NOAUTH" in asked.stdout + asked.stderr
        assert not _succeeds(check.replace("requirepass", "other"))
    finally:
        server.kill()
        server.wait()


def _redis(key: str) -> list[str]:
    return [str(one) for one in SERVICES["redis"][key]]


def _succeeds(script: str) -> bool:
    return subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode == 0


# Kubernetes.


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    pod = PODS[name]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_limits(name: str) -> None:
    pod = PODS[name]["spec"]
    for container in pod["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    empty = {one["name"]: one["emptyDir"] for one in pod["volumes"] if "emptyDir" in one}
    assert empty.keys() == {"data", "tmp"}
    assert all("sizeLimit" in one for one in empty.values())
    assert empty["tmp"]["medium"] == "Memory"
    mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
    written = {*empty, "uploads"}
    assert all(mount.get("readOnly") for mount in mounts if mount["name"] not in written)


def test_pods_share_what_one_writes_and_another_reads() -> None:
    """Uploads: a request after one may reach another pod, and schedulers read and remove them."""
    claims = {
        one["metadata"]["name"]: one["spec"]["accessModes"]
        for one in RESOURCES
        if one["kind"] == "PersistentVolumeClaim"
    }
    used = set()
    for name, pod in PODS.items():
        volumes = {
            one["name"]: one["persistentVolumeClaim"]["claimName"]
            for one in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in one
        }
        used |= set(volumes.values())
        (container,) = pod["spec"]["containers"]
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        uploads = volumes.get(mounted.get(str(Settings(home=Path("/data")).uploads), ""))
        shared = name in ("headwise-web", "headwise-scheduler")
        assert uploads == ("headwise-uploads" if shared else None), name
    assert used == claims.keys()
    assert all(modes == ["ReadWriteMany"] for modes in claims.values())


def policies(labels: dict[str, str]) -> list[dict[str, Any]]:
    """The network policies that hold for a pod with these labels."""
    found = []
    for one in RESOURCES:
        if one["kind"] == "NetworkPolicy":
            selector = one["spec"]["podSelector"]
            if selector.get("matchLabels", {}).items() <= labels.items() and all(
                labels[e["key"]] in e["values"] for e in selector.get("matchExpressions", [])
            ):
                found.append(one["spec"])
    return found


@pytest.mark.parametrize("name", PODS)
def test_a_pod_talks_to_whom_it_must_and_nobody_else(name: str) -> None:
    held = policies(PODS[name]["metadata"]["labels"])
    assert {kind for policy in held for kind in policy["policyTypes"]} == {"Ingress", "Egress"}
    reached = {p["port"] for one in held for rule in one.get("ingress", []) for p in rule["ports"]}
    assert reached == ({8600} if name == "headwise-web" else set())
    assert all(rule["from"] for one in held for rule in one.get("ingress", []))
    rules = [rule for one in held for rule in one.get("egress", [])]
    reaches = {p["port"] for rule in rules for p in rule["ports"]}
    hub = set() if name == "headwise-migrate" else {443}
    assert reaches == {53, 5432, 6379, 5672} | hub
    for rule in rules:
        if {p["port"] for p in rule["ports"]} == {443}:
            [to] = rule["to"]
            assert to["ipBlock"]["except"] == ["169.254.0.0/16"]


# systemd.


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_has_no_rights_that_it_does_not_need_and_limits(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    assert settings["User"] == "headwise"
    assert settings["CapabilityBoundingSet"] == ""
    assert settings["SystemCallFilter"] == "@system-service"
    assert settings["ProtectSystem"] == "strict"
    switched_on = (
        "NoNewPrivileges",
        "PrivateTmp",
        "ProtectHome",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "LockPersonality",
    )
    assert {key: settings.get(key) for key in switched_on} == dict.fromkeys(switched_on, "yes")
    assert settings["MemoryMax"]
    assert settings["TasksMax"]


def test_the_watchdog_waits_longer_than_a_process_takes_to_end_itself() -> None:
    """Both say that they go on, see tests/workers/test_systemd.py; no other unit does."""
    stall = load_settings({}).stall_seconds + DEAD_MAN_SECONDS
    saying = {"headwise-scheduler.service", "headwise-worker@.service"}
    texts = {unit.name: unit.read_text(encoding="utf-8") for unit in UNITS}
    assert {name for name, text in texts.items() if "WatchdogSec=" in text} == saying
    for text in (texts[name] for name in saying):
        watched = re.search(r"^WatchdogSec=(\d+)min$", text, re.MULTILINE)
        assert watched is not None
        assert int(watched[1]) * 60 > stall
        assert "NotifyAccess=all" in text


def test_the_units_of_postgresql_limit_a_backend() -> None:
    dropped_in = (ROOT / "deploy/systemd/postgresql.conf").read_text(encoding="utf-8")
    assert "[Service]\nLimitDATA=1G\nMemoryMax=" in dropped_in


# Dependencies of the images.


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Name, version and hashes of each package of a file."""
    text = (ROOT / f"docker/requirements-{name}.txt").read_text(encoding="utf-8")
    text = re.sub(r"#.*\n", "", text).replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        package, *hashes = line.split()
        pinned, version = package.split("==")
        found[canonicalize_name(pinned)] = (version, hashes)
    return found


@pytest.mark.parametrize("name", ["common", "web", "scheduler", "worker", "build"])
def test_a_dependency_of_an_image_has_the_pinned_version_and_hashes(name: str) -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in constraints if "==" in line)
    pins = {canonicalize_name(package): version for package, version in pins.items()}
    assert locked(name)
    for package, (version, hashes) in locked(name).items():
        assert pins[package] == version
        assert hashes
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
    text = (ROOT / f"docker/requirements-{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert f"install --require-hashes --only-binary=:all: -r requirements-{name}.txt" in (
        ROOT / "docker/Dockerfile"
    ).read_text(encoding="utf-8")


def test_what_an_image_needs_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    common = locked("common").keys()
    for name, requirements in needed(project).items():
        asked = {canonicalize_name(Requirement(one).name) for one in requirements}
        there = locked(name).keys() | (common if name != "build" else set())
        assert asked <= there, name
        assert "torch" not in there


def test_every_image_can_send_traces_and_a_worker_ask_its_gpu() -> None:
    traces = {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"}
    assert traces <= locked("common").keys()
    assert "nvidia-ml-py" in locked("worker")


def test_an_image_has_no_large_package_that_its_role_does_not_need() -> None:
    large = {"datasets", "pandas", "pyarrow", "transformers", "vl-convert-python"}
    found = {name: large & locked(name).keys() for name in ("common", "web", "scheduler", "worker")}
    assert found == {
        "common": set(),
        "web": {"pyarrow", "vl-convert-python"},
        "scheduler": {"datasets", "pandas", "pyarrow"},
        "worker": {"transformers"},
    }
