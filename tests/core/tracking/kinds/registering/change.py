"""One change of a registry, in a process that may be killed in the middle of it, or race with others.

`spec`: what (one of CHANGES) with its arguments, home, settle (seconds), kill (number and when), gate (a file
that is locked until all may start), broken (the verification fails).
"""

import os
from pathlib import Path
from types import SimpleNamespace

from stepladder.core.errors import ModelError
from stepladder.core.files import file_lock
from stepladder.core.tracking import champion, claim, register
from stepladder.core.tracking.client import connect
from stepladder.core.tracking.copying import copy_version
from stepladder.core.tracking.package import FINGERPRINT
from stepladder.core.tracking.versions import find

from registering.deadly import arm


def run(spec, folder):
    os.environ["STEPLADDER_HOME"] = spec["home"]
    claim.SETTLE_SECONDS = spec.get("settle", claim.SETTLE_SECONDS)
    client = connect()
    if "gate" in spec:
        (folder / "ready").touch()
        with file_lock(Path(spec["gate"])):
            pass
    writes = arm(*spec.get("kill", (0, "before")))
    done = CHANGES[spec["what"]](client, spec)
    return {**done, "writes": writes[0]}


def promote(client, spec):
    def verify(uri):
        if spec.get("broken"):
            raise ModelError(f"{uri}: the recorded answers are others now")

    promotion = champion.Promotion(spec["name"], spec["version"], spec["champion"], os.urandom(4).hex())
    change = champion.promote(client, promotion, verify)
    return {"version": change.version, "previous": change.previous, "moved": change.moved}


def rollback(client, spec):
    change = champion.rollback(client, spec["name"])
    return {"version": change.version, "previous": change.previous}


def reconcile(client, spec):
    return {"champion": champion.reconcile(client, spec["name"]).champion}


def copy(client, spec):
    return {"version": copy_version(client, find(client, spec["source"]), spec["name"]).version}


def registered(client, spec):
    """The package is a folder already."""
    tags = {FINGERPRINT: spec["fingerprint"]}
    register.log_package = lambda chosen: SimpleNamespace(uri=spec["package"], tags=tags)
    run = {"fingerprint": spec["fingerprint"]}
    made = register.register(SimpleNamespace(name=spec["name"], run=run))
    return {"version": made.version, "created": made.created}


CHANGES = {
    "promote": promote,
    "rollback": rollback,
    "reconcile": reconcile,
    "copy": copy,
    "register": registered,
}
