"""`torchrun … stepladder run`, as several machines would start it, all of them here, in one project."""

import json
import sys

import pytest
import torch
from colours import COLOURS
from ports import free_port
from real_run import COMMAND, Running, subprocess
from safetensors.torch import load_file
from stepladder.core.steps import fit

METHODS = """
methods: {methods}
shard: true
checkpoint: {{every: 3}}
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python"]
TIMED = ("tokens_per_second", "seconds_left")
RUN = ("run", "colours.yaml", "--engine", "inline")


def write_config(project, base, methods):
    (project.folder / "colours.yaml").write_text((COLOURS + METHODS).format(base=base, methods=methods))


def start_machines(project, number, *arguments, each=1, **environment):
    """One torchrun for each of so many machines, with `each` processes; the first has rank 0."""
    port = free_port()
    return [start(project, place, number, each, port, arguments, environment) for place in range(number)]


def start(project, place, number, each, port, arguments, environment):
    where = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    size = ["--nnodes", str(number), "--node-rank", str(place), "--nproc-per-node", str(each)]
    more = {"GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": "", **environment}
    process = subprocess.Popen(
        [*TORCHRUN, *size, *where, *COMMAND, *(arguments or RUN)],
        cwd=project.folder,
        env=project.environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return Running(process)


def assert_fitted_as_alone(project, candidate, notes):
    """The same fit once more, in this process, has the same curves and weights."""
    together = fits(project.runs)[candidate]
    assert json.loads((together / "result.json").read_text())["notes"] == notes
    alone = project.folder / f"{candidate}-alone"
    alone.mkdir()
    spec = json.loads((together / "spec.json").read_text())
    fit.run({**spec, "scratch": str(alone / "scratch")}, alone)
    for point, expected in zip(curves(together), curves(alone), strict=True):
        assert point == pytest.approx(expected, rel=1e-5)
    found = weights(together)
    for name, weight in weights(alone).items():
        assert torch.allclose(found[name], weight, atol=1e-4), name


def fits(runs):
    """The folder of each candidate's fit."""
    specs = {path.parent: json.loads(path.read_text()) for path in runs.glob("steps/fit-*/spec.json")}
    return {spec["candidate"]["id"]: folder for folder, spec in specs.items()}


def curves(fitted):
    points = [json.loads(line) for line in (fitted / "progress.jsonl").read_text().splitlines()]
    return [{name: each[name] for name in each if name not in TIMED} for each in points]


def weights(fitted):
    (path,) = (fitted / "artifact").glob("*.safetensors")
    return load_file(path)
