"""`torchrun … stepladder run`, as several machines would start it, all of them here, in one project."""

import socket
import sys

from real_run import COMMAND, Running, subprocess

CONFIG = """
name: colours
base: {base}
task: classify
data:
  train: train.jsonl
  test: test.jsonl
  columns: {{input: text, label: colour}}
  instruction: which colour is the car ?
methods:
  - lora: {{rank: 2, epochs: {epochs}, batch_size: 8, learning_rate: 0.01}}
  - full: {{epochs: {epochs}, batch_size: 8, learning_rate: 0.001}}
shard: true
checkpoint: {{every: 3}}
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python"]
RUN = ("run", "colours.yaml", "--engine", "inline")


def write_config(project, base, epochs=1):
    (project.folder / "colours.yaml").write_text(CONFIG.format(base=base, epochs=epochs))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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
