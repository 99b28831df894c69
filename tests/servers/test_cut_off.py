"""A server that goes away while a run is recorded or registered, and many who register at once."""

import json
import subprocess
import sys
from uuid import uuid4

import pytest
from stepladder.core.errors import StepError


@pytest.fixture
def lossy(proxy, client, tmp_path, monkeypatch):
    """The only way from this process to the server; from a new home."""
    for name, value in {**proxy.account, "STEPLADDER_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    yield proxy
    proxy.mend()


def lose_at(proxy, request, step, name):
    """Do the step while the connection is lost at the first such request."""
    proxy.lose(request)
    with pytest.raises(StepError) as caught:
        step(name)
    proxy.mend()
    told = str(caught.value)
    assert f"MLflow at {proxy.uri} does not answer" in told
    assert "`stepladder register /" in told


def all_records(client, name):
    experiment = client.get_experiment_by_name(name)
    return {run.info.run_id for run in client.search_runs([experiment.experiment_id])}


def all_requests(proxy, step, name):
    """What the step asks, each kind once, in order."""
    proxy.mend()
    step(name)
    return list(dict.fromkeys(proxy.seen))


@pytest.mark.faults
def test_a_record_that_breaks_off_anywhere_is_made_anew_and_nothing_is_left_of_it(last, lossy, client):
    requests = all_requests(lossy, last.record, "smooth")
    assert len(requests) > 6
    for number, request in enumerate(requests):
        name = f"broken-record-{number}"
        lose_at(lossy, request, last.record, name)
        recorded = last.record(name)
        assert all_records(client, name) == {recorded.run_id, *recorded.candidates.values()}, request


def break_registration_off(proxy, client, last, request):
    name = f"lost-{uuid4().hex}"
    last.record(name)
    lose_at(proxy, request, last.register, name)
    registered = last.register(name)
    assert (registered.version, registered.alias) == ("1", "challenger"), request
    assert [str(each.version) for each in client.search_model_versions(f"name = '{name}'")] == ["1"]
    assert str(client.get_model_version_by_alias(name, "challenger").version) == "1"


@pytest.mark.parametrize("path", ["model-versions/create", "registered-models/alias"])
def test_a_registration_that_breaks_off_ends_as_one_version(last, lossy, client, path):
    break_registration_off(lossy, client, last, f"POST /api/2.0/mlflow/{path}")


@pytest.mark.faults
def test_a_registration_that_breaks_off_anywhere_ends_as_one_version(last, lossy, client):
    last.record("smooth")
    requests = all_requests(lossy, last.register, "smooth")
    assert len(requests) > 6
    for request in requests:
        break_registration_off(lossy, client, last, request)


# Everything is loaded, then there are eight processes, each with a home of its own, that start together.
RACE = """
import json, os, shutil, sys
from pathlib import Path
from stepladder.core.tracking.package import Chosen
from stepladder.core.tracking.record import Recording, record_run
from stepladder.core.tracking.register import register
run, compared, package, homes = json.loads(sys.argv[1])
(entry,) = compared["candidates"]
pack = lambda folder: shutil.copytree(package, folder, dirs_exist_ok=True)
def do(home):
    os.environ["STEPLADDER_HOME"] = home
    recorded = record_run(Recording(run, {}, compared, {}))
    registered = register(Chosen(run["name"], run, entry, recorded.candidates[entry["id"]], pack))
    Path(home, "said.json").write_text(json.dumps([registered.version, registered.created]))
children = []
for home in homes:
    Path(home).mkdir()
    if (pid := os.fork()) == 0:
        try:
            do(home)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""


@pytest.mark.faults
def test_eight_who_share_nothing_but_the_server_make_one_version(last, client, tmp_path):
    homes = [tmp_path / f"home-{number}" for number in range(8)]
    given = [last.run("race"), last.compared, str(last.package), [str(home) for home in homes]]
    done = subprocess.run(
        [sys.executable, "-c", RACE, json.dumps(given)], capture_output=True, text=True, check=False
    )
    assert [(home / "said.json").exists() for home in homes] == [True] * 8, done.stderr
    said = [json.loads((home / "said.json").read_text()) for home in homes]
    (version,) = client.search_model_versions("name = 'race'")
    assert {number for number, _ in said} == {str(version.version)}
    assert sum(created for _, created in said) == 1
    assert client.get_registered_model("race").aliases == {"challenger": version.version}
