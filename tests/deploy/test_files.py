"""The files that put Headwise into production: linted, and in step with the code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import COMMANDS
from jobs.settings import Settings, load_settings
from tests.helpers.environment import missing

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPOSE, GPU = ROOT / "docker/compose.yaml", ROOT / "docker/compose.gpu.yaml"
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
MANIFESTS = sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))
OPERATORS = ("keda.sh", "kueue.x-k8s.io", "monitoring.coreos.com")
OURS = ("migrate", "web", "scheduler", "worker")


def clean(*command: str | Path) -> str:
    """Run a checker, which must find nothing; returns its output."""
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def loaded(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def commands() -> set[str]:
    """Every `headwise` command."""
    return {name for names in COMMANDS.values() for name in names}


# Dockerfile.


def test_the_dockerfile_is_clean() -> None:
    clean(BIN / "hadolint", "docker/Dockerfile")


def copied() -> list[str]:
    """Files that the Dockerfile copies from the build context."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
    return [source for line in lines for source in line.split()]


def test_what_an_image_copies_is_there_and_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    within = {source for source in copied() if Path(source).parts[0] in kept - {source}}
    assert set(copied()) - within == kept
    assert all((ROOT / source).exists() for source in copied())
    assert "*" in ignore


def test_the_image_has_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["importlinter"]["root_packages"]
    assert set(packages) == {source for source in copied() if (ROOT / source).is_dir()}
    assert project["project"]["version"] in DOCKERFILE


def stages() -> dict[str, list[str]]:
    """The instructions of each stage and of those that it is made from."""
    text = re.sub(r"\\\n", " ", DOCKERFILE)
    found: dict[str, list[str]] = {}
    for block in re.split(r"(?m)^(?=FROM )", text)[1:]:
        first, *lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        _, base, _, name = first.split()
        found[name] = [*found.get(base, []), *lines]
    return found


@pytest.mark.parametrize("role", ["web", "scheduler", "worker", "worker-cuda"])
def test_a_role_is_unprivileged_healthy_and_runs_a_command_that_exists(role: str) -> None:
    lines = stages()[role]
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001"
    assert 'ENTRYPOINT ["headwise"]' in lines
    run = [json.loads(line[4:]) for line in lines if line.startswith("CMD [")][-1]
    assert run[0] in commands()
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert any(line.startswith("LABEL") for line in lines)


@pytest.mark.parametrize("role", ["web", "scheduler"])
def test_roles_that_do_not_compute_have_no_torch(role: str) -> None:
    sources = re.findall(r"COPY --from=(\S+)", "\n".join(stages()[role]))
    assert sources == [f"{role}-dependencies", "code", "code"]
    assert "torch" not in "\n".join([*stages()[sources[0]], *stages()[role]])


@pytest.mark.parametrize("role", ["web", "scheduler", "worker", "worker-cuda"])
def test_an_image_has_no_pip(role: str) -> None:
    """Packages are installed in other stages, into an environment without pip."""
    lines = stages()[role]
    assert not any("pip install" in line or "-m venv" in line for line in lines)
    assert any("rm -rf" in line and "site-packages/*" in line for line in lines)
    assert any("-m venv --without-pip /opt/headwise" in line for line in stages()["pip"])


# Compose.


@pytest.mark.parametrize("file", [COMPOSE, GPU], ids=lambda file: file.name)
def test_compose_files_follow_the_specification(file: Path) -> None:
    clean(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def test_compose_itself_merges_them(tmp_path: Path) -> None:
    """With its own parser, where this machine has the plugin."""
    if (
        not shutil.which("docker")
        or subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the compose plugin; the schema above is checked anyway")
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    subprocess.run([tmp_path / "docker/make-secrets"], check=True, capture_output=True)
    files = [f"--file={tmp_path / 'docker' / file.name}" for file in (COMPOSE, GPU)]
    merged = yaml.safe_load(clean("docker", "compose", *files, "config"))
    assert merged["services"]["worker"]["build"]["target"] == "worker-cuda"


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_is_confined_and_waits_for_the_migration(name: str) -> None:
    service = loaded(COMPOSE)[0]["services"][name]
    assert service["build"]["target"] in stages()
    assert set(service["environment"]) <= known_keys()
    if "command" in service:
        assert service["command"][0] in commands()
    if name != "migrate":
        waits = service["depends_on"]["migrate"]["condition"]
        assert waits == "service_completed_successfully"


def test_every_service_has_a_health_check_a_limit_and_no_password() -> None:
    services = loaded(COMPOSE)[0]["services"]
    for name, service in services.items():
        assert "healthcheck" in service or name in OURS, name
        assert not re.search(r"(?i)password\b(?!_file)", " ".join(service.get("environment", {})))
    assert services["rabbitmq"]["profiles"] == ["rabbitmq"]
    (override,) = loaded(GPU)[0]["services"].values()
    assert override["build"]["target"] in stages()


def known_keys() -> set[str]:
    """Every variable that a process may be given."""
    keys = {f"HEADWISE_{name.upper()}" for name in Settings.model_fields}
    return keys | {f"{key}_FILE" for key in keys}


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_secrets_are_made_once_and_are_good_settings(tmp_path: Path, broker: str) -> None:
    script = tmp_path / "make-secrets"
    shutil.copy(ROOT / "docker/make-secrets", script)
    clean(script, broker)
    folder = tmp_path / "secrets"
    made = {file.name: file.read_text() for file in folder.iterdir()}
    named = loaded(COMPOSE)[0]["secrets"].values()
    assert {Path(secret["file"]).name for secret in named} == set(made)
    keys = {
        "database-url": "DATABASE_URL",
        "broker-url": "BROKER_URL",
        "console-url": "CONSOLE_URL",
    }
    settings = load_settings(
        {f"HEADWISE_{key}_FILE": str(folder / name) for name, key in keys.items()}
    )
    assert made["postgres-password"].strip() in settings.database
    passwords = {"redis": "redis.conf", "rabbitmq": "rabbitmq-user.conf"}
    scheme = {"redis": "redis", "rabbitmq": "amqp"}[broker]
    user = {"redis": "", "rabbitmq": "headwise"}[broker]
    password = made[passwords[broker]].split()[-1]
    assert len(password) == 48
    assert settings.broker.startswith(f"{scheme}://{user}:{password}@{broker}:")
    assert folder.stat().st_mode & 0o777 == 0o700
    expected = {"redis": "", "rabbitmq": "rabbitmq"}[broker]
    assert (tmp_path / ".env").read_text() == f"COMPOSE_PROFILES={expected}\n"
    clean(script, broker)
    assert {file.name: file.read_text() for file in folder.iterdir()} == made
    bad = subprocess.run([script, "kafka"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "unknown broker 'kafka'" in bad.stderr


def test_base_images_are_pinned_beside_what_env_has(tmp_path: Path) -> None:
    for name in ("pin-images", "make-secrets", "compose.yaml"):
        shutil.copy(ROOT / "docker" / name, tmp_path)
    clean(tmp_path / "make-secrets", "rabbitmq")
    fake = tmp_path / "bin/docker"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "sha256:$(printf %s "$4" | tr -c a-z0-9 _)"\n')
    fake.chmod(0o755)
    for _ in range(2):
        ran = subprocess.run(
            [tmp_path / "pin-images"],
            env={"PATH": f"{fake.parent}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines[0] == "COMPOSE_PROFILES=rabbitmq"
    pinned = dict(line.split("=", 1) for line in lines[1:])
    assert pinned["PYTHON_IMAGE"].startswith("python:3.11-slim-bookworm@sha256:")
    assert set(pinned) == {"PYTHON_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE", "RABBITMQ_IMAGE"}
    assert ran.stdout.splitlines() == lines[1:]
    fake.write_text("#!/bin/sh\necho no such image\n")
    ran = subprocess.run(
        [tmp_path / "pin-images"],
        env={"PATH": f"{fake.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr.count("pin-images: no digest of")) == (1, 1)
    assert (tmp_path / ".env").read_text().splitlines() == lines


# systemd, SLURM, Kubernetes.


def test_scripts_are_clean() -> None:
    clean(
        BIN / "shellcheck",
        "docker/make-secrets",
        "docker/pin-images",
        *(ROOT / "deploy").rglob("*.sh"),
    )


def test_units_are_clean(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze")
    program = "/opt/headwise/bin/headwise"
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert text.count(program) == 1
        # The program is not installed here; its command must be one of ours.
        assert text.split(program, 1)[1].split()[0] in commands()
        (tmp_path / unit.name).write_text(text.replace(program, sys.executable))
    assert len(UNITS) == 4
    for timer in (ROOT / "deploy/systemd").glob("*.timer"):
        shutil.copy(timer, tmp_path)
    assert clean("systemd-analyze", "verify", *sorted(tmp_path.iterdir())) == ""


def test_the_settings_of_the_units_are_known() -> None:
    lines = (ROOT / "deploy/systemd/headwise.env").read_text(encoding="utf-8").splitlines()
    keys = {line.split("=")[0] for line in lines if line and not line.startswith("#")}
    assert keys <= known_keys()


def test_the_array_runs_a_worker_that_ends() -> None:
    script = (ROOT / "deploy/slurm/headwise-array.sh").read_text(encoding="utf-8")
    run = shlex.split(next(line for line in script.splitlines() if line.startswith("exec srun")))
    assert run[3] == "worker"
    assert {"--drain", "--devices"} <= set(run)
    exported = set(re.findall(r"export (\w+)=", script))
    assert exported <= known_keys()
    assert "--signal=USR1@" in script


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_manifests_follow_the_schema(file: Path, tmp_path: Path) -> None:
    """Kubernetes' own kinds; those of operators are tested in test_kubernetes.py."""
    own = [one for one in loaded(file) if not one["apiVersion"].split("/")[0].endswith(OPERATORS)]
    if own:
        for one in own:
            one["metadata"]["name"] = name_of(one)
        (tmp_path / file.name).write_text(yaml.safe_dump_all(own), encoding="utf-8")
        valid = (BIN / "kubernetes-validate", "--strict", "--kubernetes-version", "1.34")
        clean(*valid, tmp_path / file.name)


def name_of(resource: dict[str, Any]) -> str:
    """The name of a resource, or what Kubernetes makes it from."""
    named = resource["metadata"]
    return str(named.get("name") or named["generateName"].rstrip("-"))


def pods() -> dict[str, dict[str, Any]]:
    """The pod of every workload."""
    found = {}
    for resource in (one for file in MANIFESTS for one in loaded(file)):
        if resource["kind"] in ("Deployment", "Job"):
            found[name_of(resource)] = resource["spec"]["template"]["spec"]
            labels = resource["spec"]["template"]["metadata"]["labels"]
            if resource["kind"] == "Deployment":
                assert resource["spec"]["selector"]["matchLabels"] == labels
    return found


def test_pods_are_confined_and_run_what_exists() -> None:
    assert set(pods()) == {f"headwise-{role}" for role in (*OURS, "drain")}
    for name, pod in pods().items():
        (container,) = pod["containers"]
        assert container["args"][0] in commands()
        assert container["image"].split(":")[0].removeprefix("headwise-") in stages()
        # Kubernetes' own HEADWISE_WEB_PORT and the like would be refused as unknown settings.
        assert pod["enableServiceLinks"] is False
        assert {entry["name"] for entry in container.get("env", [])} <= known_keys()
        if name not in ("headwise-migrate", "headwise-drain"):
            assert {"startupProbe", "livenessProbe"} <= container.keys()
    (config,) = [one for file in MANIFESTS for one in loaded(file) if one["kind"] == "ConfigMap"]
    assert set(config["data"]) <= known_keys()


def test_every_probe_of_a_process_is_a_command_that_exists() -> None:
    probes = re.findall(r"\[(?:\"?)headwise\"?, \"?(\w+)", DOCKERFILE)
    probes += [
        probe["exec"]["command"][1]
        for pod in pods().values()
        for container in pod["containers"]
        for key, probe in container.items()
        if key.endswith("Probe") and "exec" in probe
    ]
    assert len(probes) >= 6
    assert set(probes) <= commands()
