"""Promotion, whoever walks it: what was asked for, one at a time on this machine, and how it ended."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.environment import home
from ..core.errors import GateError
from ..core.files import file_lock
from ..core.steps.ending import Ending, broken_ending
from ..core.steps.execute import Outcome
from ..core.steps.graph import Graph
from ..core.steps.promotion import promotion_graph
from ..core.steps.store import Store
from ..core.training.children import Children
from .events import announce
from .single import do_step

Log = Callable[[str], None]
Walk = Callable[[Graph, Store], dict[str, Outcome]]
VERDICT = "verdict.json"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What the user asked for. `to` is the registered model to which the version is copied first; by
    `config` its gates are used instead of those of the version's own run.
    """

    name: str
    version: str | None = None
    to: str | None = None
    config: Path | None = None

    @property
    def target(self) -> str:
        """The registered model whose champion may change."""
        return self.to or self.name


@dataclass(frozen=True, slots=True)
class Ended:
    """How a promotion ended. `verdict` is what verdict.json says, empty where no gate was asked.

    `promoted` is the new champion: name, version, previous; None where there is none, or no new one.
    """

    ending: Ending
    challenger: Mapping[str, Any]
    verdict: Mapping[str, Any]
    promoted: Mapping[str, Any] | None

    @property
    def rejected(self) -> bool:
        return self.ending.exit_code == GateError.exit_code

    @property
    def said(self) -> str:
        """In one sentence."""
        if self.ending.exit_code:
            return self.ending.message
        if self.promoted is None:
            return "The version is the champion already."
        return f"Version {self.promoted['version']} of {self.promoted['name']} is the champion."


def carry_out(promotion: Promotion, walk: Walk, children: Children, log: Log) -> Ended:
    """Promote, or find out why not. Promotions to the same name wait for each other."""
    lock = home() / "locks" / f"promoting-{promotion.target}"
    asked = {
        "name": promotion.name,
        "version": promotion.version,
        "to": promotion.to,
        "gates": _gates(promotion, children, log),
        "token": secrets.token_hex(8),
    }
    with file_lock(lock, lambda: log(f"waiting: another promotion of {promotion.target} is under way")):
        end = ended(walk(promotion_graph(asked), Store(home() / "promotions")))
    _announce(end, log)
    return end


def ended(outcomes: Mapping[str, Outcome]) -> Ended:
    """How a promotion ended, from the outcome of each of its steps."""
    judged, promoted = outcomes["judge"], outcomes["promote"]
    verdict = judged.folder / VERDICT if judged.folder else None
    return Ended(
        ending=broken_ending(outcomes) or Ending(0),
        challenger=outcomes["contest"].result or {},
        verdict=json.loads(verdict.read_text()) if verdict and verdict.exists() else {},
        promoted=promoted.result.get("promoted") if promoted.result else None,
    )


def _announce(end: Ended, log: Log) -> None:
    if end.promoted:
        announce("promoted", end.promoted, log)
    elif end.rejected:
        champion = end.challenger["champion"] or {"version": None}
        about = {"name": end.challenger["name"], "version": end.challenger["challenger"]["version"]}
        told = {**about, "previous": champion["version"], "reason": end.ending.message}
        announce("rejected", told, log)


def _gates(promotion: Promotion, children: Children, log: Log) -> list[dict[str, Any]] | None:
    if promotion.config is None:
        return None
    spec = {"config": str(promotion.config.absolute())}
    gates: list[dict[str, Any]] = do_step("gates", spec, log, children)["gates"]
    return gates
