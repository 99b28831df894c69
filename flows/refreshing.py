"""A refresh, whoever walks it: the ladder if rows or config are new, then the promotion of its choice.

How the last finished refresh of a name ended is kept in `<runs>/refreshes/<name>.json`: if neither rows nor
config have changed since, nothing is done. A refresh that was killed or has failed leaves nothing there, so
that the next one does what is left to do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.report.folder import CONFIG, RESULT
from ..core.steps.ending import Ending, ending
from ..core.steps.execute import Outcome
from ..core.training.children import Children
from .events import announce_registered
from .planning import Planned, Request, open_run_folder, plan
from .promotion import Ended, Promotion, Walk, carry_out

Log = Callable[[str], None]
WalkRun = Callable[[Planned], Mapping[str, Outcome]]
KEPT = "refreshes"


@dataclass(frozen=True, slots=True)
class Refresh:
    """What the user asked for: with `promote` a version that the run registers is promoted by its gates."""

    request: Request
    promote: bool = True


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How a refresh ended. `outcomes` are those of its run, empty where nothing was new; `promotion` is None
    where there was none."""

    planned: Planned
    ending: Ending
    message: str
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    promotion: Ended | None = None

    @property
    def unchanged(self) -> bool:
        return not self.outcomes


def refresh(asked: Refresh, run: WalkRun, promotion: Walk, children: Children, log: Log) -> Refreshed:
    """Do what is new; `run` and `promotion` walk the graphs. Raises InputError as planning does."""
    planned = plan(asked.request, children, log, announce=False)
    if asked.promote:
        require_register(asked.request.config, planned.config, "--no-promote (promote: false)")
    before = _last(asked, planned)
    if before is not None:
        said = (
            f"nothing new: rows and config are those of {planned.run_dir.name}, where it ended so: {before}"
        )
        return Refreshed(planned, Ending(0), said)
    refreshed = _run(asked, run, children, log)
    registered = _registered(refreshed)
    if asked.promote and registered:
        refreshed = _promote(refreshed, registered, promotion, children, log)
    if not refreshed.ending.exit_code or (refreshed.promotion and refreshed.promotion.rejected):
        _keep(asked, refreshed)
    return refreshed


def require_register(path: Path, config: Mapping[str, Any], otherwise: str) -> None:
    """Raises ConfigError for a config that registers nothing, so that there is nothing to promote."""
    if config["register"] is None:
        fault = "register: a refresh promotes what its run registers; expected a name, found none"
        raise ConfigError(str(path), [f"{fault}: name one, or {otherwise}"])


def _run(asked: Refresh, run: WalkRun, children: Children, log: Log) -> Refreshed:
    planned = plan(asked.request, children, log, announce=True)
    open_run_folder(planned)
    outcomes = run(planned)
    announce_registered(outcomes, log)
    end = ending(outcomes)
    return Refreshed(planned, end, end.message or _chosen(outcomes), outcomes)


def _chosen(outcomes: Mapping[str, Outcome]) -> str:
    assert outcomes["compare"].result, "a run that is done has compared"
    choice = outcomes["compare"].result["choice"]
    return f"{choice['id'] or 'nobody'} is chosen: {choice['reason']}"


def _registered(refreshed: Refreshed) -> Mapping[str, str] | None:
    """Name, version and alias, if the run is done and somebody was chosen."""
    outcome = refreshed.outcomes.get("register")
    if refreshed.ending.exit_code or outcome is None or outcome.result is None:
        return None
    registered: Mapping[str, str] | None = outcome.result["registered"]
    return registered


def _promote(
    refreshed: Refreshed, registered: Mapping[str, str], walk: Walk, children: Children, log: Log
) -> Refreshed:
    """By the gates of this run's config, which may be others than when its version was made."""
    asked = Promotion(registered["name"], registered["version"], config=refreshed.planned.run_dir / CONFIG)
    end = carry_out(asked, walk, children, log)
    return replace(refreshed, ending=end.ending, message=end.said, promotion=end)


def _last(asked: Refresh, planned: Planned) -> str | None:
    """How the last refresh of that name ended, if it was of the same rows and config; else None."""
    try:
        kept = json.loads(_place(planned).read_text())
        result = json.loads((planned.run_dir / RESULT).read_text())
    except (FileNotFoundError, ValueError):
        return None
    same = kept["asked"] == _asked(asked, planned) and result["status"] == "ok"
    return str(kept["message"]) if same else None


def _keep(asked: Refresh, refreshed: Refreshed) -> None:
    place = _place(refreshed.planned)
    place.parent.mkdir(exist_ok=True)
    new = place.with_name(f".{place.name}.{os.getpid()}.new")
    kept = {"asked": _asked(asked, refreshed.planned), "message": refreshed.message}
    new.write_text(json.dumps(kept, indent=2) + "\n")
    new.replace(place)


def _asked(asked: Refresh, planned: Planned) -> dict[str, Any]:
    """What a refresh depends on: also what no fingerprint is taken over, such as the gates."""
    config = hashlib.sha256(json.dumps(planned.config, sort_keys=True).encode()).hexdigest()
    return {"fingerprint": planned.run["fingerprint"], "config": config, "promote": asked.promote}


def _place(planned: Planned) -> Path:
    return planned.run_dir.parent / KEPT / f"{planned.run['name']}.json"
