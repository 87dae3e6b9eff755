"""Kubernetes: what belongs together is consistent, and what reads the database is run on one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.database import Database
from tests.helpers.databases import execute
from tests.helpers.jobs import planned_job

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/howto/kubernetes.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "deploy/kubernetes").rglob("*.yaml"))
RESOURCES = [one for file in FILES for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Resources of a kind by name."""
    return {one["metadata"]["name"]: one for one in RESOURCES if one["kind"] == kind}


def test_every_deployment_has_a_budget_that_lets_a_node_be_drained() -> None:
    deployments, budgets = of_kind("Deployment"), of_kind("PodDisruptionBudget")
    assert budgets.keys() == deployments.keys()
    for name, budget in budgets.items():
        assert budget["spec"]["selector"] == deployments[name]["spec"]["selector"]
        assert budget["spec"]["maxUnavailable"] in (1, "50%")
        assert deployments[name]["spec"]["replicas"] > 1


def test_replicas_prefer_different_nodes() -> None:
    for role in ("web", "scheduler"):
        deployment = of_kind("Deployment")[f"headwise-{role}"]
        (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"] == deployment["spec"]["selector"]
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


def test_what_asks_for_a_gpu_tolerates_the_taint_of_gpu_nodes() -> None:
    pods = [
        one["spec"]["template"]["spec"] for one in RESOURCES if "template" in one.get("spec", {})
    ]
    on_gpus = [
        pod for pod in pods if "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
    ]
    assert len(on_gpus) == 2
    flavor = of_kind("ResourceFlavor")["gpu"]
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert flavor["spec"]["tolerations"] == [taint]
    for pod in on_gpus:
        assert pod.get("tolerations", flavor["spec"]["tolerations"]) == [taint]


def scaled() -> dict[str, Any]:
    """The rule that scales workers."""
    spec: dict[str, Any] = of_kind("ScaledObject")["headwise-worker"]["spec"]
    return spec


def test_the_autoscaler_names_what_there_is() -> None:
    assert scaled()["scaleTargetRef"]["name"] in of_kind("Deployment")
    (trigger,) = scaled()["triggers"]
    authentication = of_kind("TriggerAuthentication")[trigger["authenticationRef"]["name"]]
    (reference,) = authentication["spec"]["secretTargetRef"]
    assert (reference["parameter"], reference["name"]) == ("connection", "headwise")
    assert f"--from-file={reference['key']}" in DOCUMENT


@pytest.mark.services
def test_the_autoscaler_counts_the_blocks_that_wait_or_run(database: Database) -> None:
    if database.dialect != "postgresql":
        pytest.skip("KEDA asks PostgreSQL")
    query = scaled()["triggers"][0]["metadata"]["query"]

    def depth() -> int:
        return int(database.value(query))

    assert depth() == 0
    first = planned_job(database, examples=6, size=2)
    other = planned_job(database, examples=4, size=2, queue="cpu")
    assert depth() == 3
    execute(database, f"UPDATE shard SET state = 'leased' WHERE job_id = {first} AND shard_no = 0")
    execute(database, f"UPDATE shard SET state = 'done' WHERE job_id = {first} AND shard_no = 1")
    assert depth() == 2
    execute(database, f"UPDATE job SET block = 1 WHERE id = {first}")
    assert depth() == 4
    execute(database, f"UPDATE job SET queue = 'default', control = 'pause' WHERE id = {other}")
    assert depth() == 4
    execute(database, f"UPDATE job SET state = 'succeeded' WHERE id = {first}")
    assert depth() == 0


def test_prometheus_finds_the_dashboards_and_may_reach_them() -> None:
    monitor = of_kind("PodMonitor")["headwise"]["spec"]
    web = of_kind("Deployment")["headwise-web"]["spec"]
    assert monitor["selector"] == web["selector"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    (container,) = web["template"]["spec"]["containers"]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    job = web["template"]["metadata"]["labels"][monitor["jobLabel"]]
    rules = (ROOT / "docs/monitoring/alerts.yaml").read_text(encoding="utf-8")
    assert f'up{{job="{job}"}}' in rules
    (rule,) = of_kind("NetworkPolicy")["headwise-web"]["spec"]["ingress"]
    namespaces = [one["namespaceSelector"]["matchLabels"].values() for one in rule["from"]]
    assert ["monitoring"] in map(list, namespaces)


def test_kueue_admits_the_job_by_a_queue_that_there_is() -> None:
    (job,) = [one for one in RESOURCES if one["metadata"].get("generateName") == "headwise-drain-"]
    local = of_kind("LocalQueue")[job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]]
    cluster = of_kind("ClusterQueue")[local["spec"]["clusterQueue"]]
    (group,) = cluster["spec"]["resourceGroups"]
    limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert set(group["coveredResources"]) == set(limits)
    assert {one["name"] for one in group["flavors"]} == of_kind("ResourceFlavor").keys()
    assert job["spec"]["suspend"] is True
    assert "--drain" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_the_document_applies_every_file() -> None:
    named = set(re.findall(r"deploy/kubernetes/[\w/-]+\.yaml", DOCUMENT))
    assert named == {str(file.relative_to(ROOT)) for file in FILES}
