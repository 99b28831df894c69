"""The step in which every gate says whether the challenger may become champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..discovery import Registry, discover
from ..errors import GateError
from ..evaluation.judging import ask_all
from ..evaluation.metrics import metrics_of
from ..evaluation.score import read_predictions
from ..gate import Contest, Contestant
from ..package.layout import CANDIDATE, LINEAGE, SERVED, read_json
from ..tracking.claim import now
from ..tracking.client import connect
from ..tracking.verdict import Ruling, write_verdict
from .candidate import say
from .store import read_result

CHALLENGER, CHAMPION = "challenger", "champion"
VERDICT_FILE = "verdict.json"


@dataclass(frozen=True, slots=True)
class Before:
    """What the steps before have found (their results), and where they left it."""

    contest: Mapping[str, Any]
    packages: Path
    rescored: Mapping[str, Any]
    answers: Path

    @classmethod
    def of(cls, needs: Mapping[str, str]) -> Before:
        packages, answers = Path(needs["contest"]), Path(needs["rescore"])
        return cls(read_result(packages), packages, read_result(answers), answers)

    def contestant(self, role: str) -> Contestant:
        return Contestant(
            version=self.contest[role]["version"],
            entry=read_json(self.packages / role, CANDIDATE)["candidate"],
            records=read_predictions(self.answers / f"{role}.jsonl"),
            seconds_per_row=self.rescored["seconds_per_row"][role],
        )


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes verdict.json, which is returned too, and tells the registry; plugins hear of a no.

    Returns nothing where the challenger is the champion already. Raises GateError where a gate says no.
    """
    before = Before.of(spec["needs"])
    if before.contest["already"]:
        return {}
    registry = discover()
    ruling = _rule(before, registry)
    told = ruling.to_json()
    file = folder / VERDICT_FILE
    file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_verdict(connect(), ruling, file)
    if not ruling.passed:
        _tell_plugins(ruling, registry)
        raise GateError(str(ruling))
    say(str(ruling))
    return told


def contest_of(before: Before, registry: Registry) -> Contest:
    """What the gates judge."""
    contest, rescored = before.contest, before.rescored
    package = before.packages / CHALLENGER
    scored = contest["champion"] is not None and not rescored["champion_fault"]
    return Contest(
        challenger=before.contestant(CHALLENGER),
        champion=before.contestant(CHAMPION) if scored else None,
        metrics=metrics_of(read_json(package, LINEAGE)["config"], registry),
        champion_fault=rescored["champion_fault"],
        excluded=rescored["excluded"],
        approval=contest["approval"],
        name=contest["name"],
        labels=tuple(read_json(package, SERVED)["labels"]),
    )


def _rule(before: Before, registry: Registry) -> Ruling:
    contest = before.contest
    return Ruling(
        name=contest["name"],
        version=contest["challenger"]["version"],
        champion=contest["champion"]["version"] if contest["champion"] else None,
        judgements=ask_all(contest["gates"], contest_of(before, registry), registry),
        test_sha256=before.rescored["test_sha256"],
        at=now(),
    )


def _tell_plugins(ruling: Ruling, registry: Registry) -> None:
    about = {"name": ruling.name, "version": ruling.version, "previous": ruling.champion}
    for fault in registry.fire("rejected", promotion={**about, "reason": ruling.reason}):
        say(fault)
