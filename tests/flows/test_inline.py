"""The engine without an orchestrator, on a graph of fakes."""

import json
import subprocess
import sys
from pathlib import Path

from fakes.small import graph
from stepladder.flows.inline import walk
from stepladder.flows.watch import Silence


class Notes(Silence):
    def __init__(self):
        self.seen = []

    def started(self, node):
        self.seen.append(("started", node.id))

    def line(self, node, text):
        self.seen.append((node.id, text))

    def ended(self, node, outcome):
        self.seen.append((outcome.status, node.id))


def test_every_node_is_done_in_order_and_its_log_is_forwarded(store, children):
    notes = Notes()
    outcomes = walk(graph(), store, children, notes)
    assert list(outcomes) == [node.id for node in graph().nodes]
    assert notes.seen[:6] == [
        ("started", "read"),
        ("read", "read at work"),
        ("ok", "read"),
        ("started", "render"),
        ("render", "render at work"),
        ("ok", "render"),
    ]


def test_the_executed_edges_are_those_of_the_graph(store, children):
    outcomes = walk(graph(retain={"text": "x"}, register="y"), store, children, Silence())
    executed = set()
    for node_id, outcome in outcomes.items():
        spec = json.loads((outcome.folder / "spec.json").read_text())
        executed |= {(needed, node_id) for needed in spec["needs"]}
    assert executed == graph(retain={"text": "x"}, register="y").edges


WALK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fakes.small import graph
from stepladder.core.steps.store import Store
from stepladder.core.training.children import Children
from stepladder.flows.inline import walk
from stepladder.flows.watch import Silence
outcomes = walk(graph(), Store(Path(sys.argv[2])), Children(kinds="fakes", preload=()), Silence())
heavy = [name for name in ("torch", "mlflow", "prefect") if name in sys.modules]
print({outcome.status for outcome in outcomes.values()}, heavy)
"""


def test_the_parent_imports_nothing_heavy(tmp_path):
    kinds = Path(__file__).parents[1] / "core" / "steps" / "kinds"
    command = [sys.executable, "-c", WALK, str(kinds), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "{'ok'} []\n"
