"""The files of deployments/ as files: what they name is there, and no secret and no open port is among it."""

import importlib
import inspect
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
COMPOSE = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
PREFECT = {
    each["name"]: each for each in yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())["deployments"]
}
KUBERNETES = json.loads((DEPLOYMENTS / "kubernetes.json").read_text())
SECRET = re.compile("PASSWORD|SECRET|AUTH_STRING")
NAMED = re.compile(r"\$\{([A-Z_]+):\?\}")
PINNED = re.compile(r"[a-z]+:\d+\.\d+[\w.-]*$")


def environment():
    """Each variable of each service."""
    return [pair for service in SERVICES.values() for pair in service.get("environment", {}).items()]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_watched_and_not_open_to_others(name):
    service = SERVICES[name]
    assert PINNED.match(service["image"]), "an image with a version"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["healthcheck"]["retries"] > 0
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert all(need["condition"] == "service_healthy" for need in service.get("depends_on", {}).values())
    assert set(service.get("depends_on", {})) < set(SERVICES)


def test_volumes_are_declared_or_files_that_are_there():
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = {each for each in mounted if each.startswith(".")}
    assert set(mounted) - files == set(COMPOSE["volumes"])
    assert all((DEPLOYMENTS / file).is_file() for file in files)


def test_secrets_are_names():
    secrets = [(name, value) for name, value in environment() if SECRET.search(name)]
    assert len(secrets) > 5
    for name, value in secrets:
        assert NAMED.fullmatch(value), f"{name} has a value of its own"
    everything = "\n".join(path.read_text() for path in DEPLOYMENTS.iterdir() if path.is_file())
    assert not re.search(r"://[^/\s'\"]*:[^/\s'\"]*@", everything), "an address with a password"


def test_each_name_is_one_that_the_guide_gives_a_value_to():
    asked = set(NAMED.findall((DEPLOYMENTS / "compose.yaml").read_text()))
    guide = (DEPLOYMENTS / "README.md").read_text()
    assert {name for name in asked if re.search(rf"\b{name}\b", guide)} == asked


def test_variables_are_ones_that_those_who_are_started_read():
    from mlflow import environment_variables
    from prefect import settings

    assert not hasattr(settings, "PREFECT_NO_SUCH_NAME")
    known = {"MLFLOW": environment_variables, "PREFECT": settings}
    for name, _ in environment():
        whose = name.partition("_")[0]
        assert whose not in known or hasattr(known[whose], name), name


def test_the_image_is_pinned_and_its_user_is_not_root():
    lines = (DEPLOYMENTS / "Dockerfile").read_text().splitlines()
    assert PINNED.match(next(line for line in lines if line.startswith("FROM")).split()[1])
    assert [line for line in lines if line.startswith("USER")][-1] != "USER root"
    assert ".git" in (DEPLOYMENTS / "Dockerfile.dockerignore").read_text().splitlines()


@pytest.mark.parametrize("name", PREFECT)
def test_a_deployment_names_a_flow_that_takes_its_parameters(name):
    deployment = PREFECT[name]
    module, _, function = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), function)
    given = {
        *deployment["parameters"],
        *(each for on in deployment.get("triggers", []) for each in on["parameters"]),
    }
    taken = inspect.signature(flow.fn).parameters
    assert given <= set(taken)
    assert {each for each, about in taken.items() if about.default is inspect.Parameter.empty} <= given
    assert deployment["work_pool"] == {"name": "stepladder"}


def test_nightly_and_weekly_run_by_a_clock_with_a_time_zone_and_alone():
    for name in ("nightly", "weekly"):
        assert PREFECT[name]["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        (schedule,) = PREFECT[name]["schedules"]
        assert schedule["timezone"] == "Europe/Berlin"
        assert len(schedule["cron"].split()) == 5


def test_the_job_of_kubernetes_asks_for_what_it_declares():
    declared = KUBERNETES["variables"]
    jsonschema.Draft202012Validator.check_schema(declared)
    asked = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(KUBERNETES["job_configuration"])))
    assert asked == set(declared["properties"])
    defaults = {name: each["default"] for name, each in declared["properties"].items() if "default" in each}
    jsonschema.validate(defaults, declared)
    assert {"command", "env", "labels", "name", "namespace", "job_manifest"} <= set(
        KUBERNETES["job_configuration"]
    )


def test_the_job_of_kubernetes_ends_with_its_pod_and_has_no_rights():
    spec = KUBERNETES["job_configuration"]["job_manifest"]["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert spec["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["template"]["spec"]["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["envFrom"] == [{"secretRef": {"name": "{{ secret }}"}}]
