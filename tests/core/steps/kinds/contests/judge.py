import json

from stepladder.core.errors import GateError


def run(spec, folder):
    passed = spec["promotion"]["version"] != "refused"
    gate = {"gate": "minimum", "passed": passed, "reason": "accuracy is 0.5", "figures": {"accuracy": 0.5}}
    (folder / "verdict.json").write_text(json.dumps({"gates": [gate]}))
    if not passed:
        raise GateError("colours: version refused is not promoted")
    return {"gates": [gate]}
