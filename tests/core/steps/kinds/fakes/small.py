"""The graph of a small run, made without files: for the tests of both engines."""

from stepladder.core.steps.graph import Ingredients, build_graph
from stepladder.core.types import CandidateSpec


def candidate(name, settings=None, needs=()):
    return CandidateSpec(
        id=name, method=name.partition("-")[0], rung=1.0, settings=settings or {}, needs=needs
    )


def ingredients(*candidates, **changes):
    config = {
        "name": "a-run",
        "task": "classify",
        "data": {"train": "/data/train.jsonl", "test": "/data/test.jsonl", "validation": 0.2},
        "choose": {"metric": None, "margin": 0.03},
        "retain": None,
        "replay": None,
        "register": None,
    }
    given = {
        "base": {"name": "base", "path": "/bases/base", "fingerprint": "b" * 64},
        "files": {"/data/train.jsonl": "1" * 64, "/data/test.jsonl": "2" * 64},
        "plugins": {"method:zero": "z1", "method:lora": "l1", "decoder:greedy": "g1"},
        "versions": {"torch": "2.13", "transformers": "5.23"},
    }
    overrides = {key: changes.pop(key) for key in list(changes) if key in given}
    candidates = candidates or (candidate("zero"), candidate("lora"))
    return Ingredients(config={**config, **changes}, candidates=candidates, **{**given, **overrides})


def graph(*candidates, **changes):
    return build_graph(ingredients(*candidates, **changes))
