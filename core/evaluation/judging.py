"""Asks the gates of a promotion, and gathers what they say. A gate that cannot judge says no."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.faults import validate
from ..discovery import Registry
from ..errors import PluginError, StepladderError
from ..gate import Contest, Gate, Verdict
from ..metric import Metric
from .compare import Difference

Gates = Sequence[Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one gate said. `gate` is its name, numbered from its second time on, `settings` those it had."""

    gate: str
    settings: Mapping[str, Any]
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.gate} {'passed' if self.verdict.passed else 'refused'}: {self.verdict.reason}"

    def to_json(self) -> dict[str, Any]:
        """Figures that are no finite number become null."""
        finite = {name: x if math.isfinite(x) else None for name, x in self.verdict.figures.items()}
        said = {"passed": self.verdict.passed, "reason": self.verdict.reason, "figures": finite}
        return {"gate": self.gate, "settings": dict(self.settings), **said}


def ask_all(gates: Gates, contest: Contest, registry: Registry) -> list[Judgement]:
    """Ask each of `gates` ({name: settings}), in order."""
    asked: list[str] = []
    judgements = []
    for name, settings in (entry for gate in gates for entry in gate.items()):
        asked.append(name)
        times = asked.count(name)
        numbered = name if times == 1 else f"{name}_{times}"
        judgements.append(Judgement(numbered, settings, ask(name, settings, contest, registry)))
    return judgements


def ask(name: str, settings: Mapping[str, Any], contest: Contest, registry: Registry) -> Verdict:
    """What the gate says; its plugin may be gone, refuse its settings, raise, or return anything at all."""
    try:
        return _checked(_make(name, settings, registry).judge(contest))
    except StepladderError as error:
        return Verdict(False, str(error))
    except (Exception, SystemExit) as error:
        return Verdict(False, f"the gate itself failed: {type(error).__name__}: {error!s:.300}")


def without_champion(contest: Contest) -> Verdict | None:
    """What a gate that compares with the champion says where it cannot; None where it can.

    The first champion has nobody to be compared with. A champion that cannot be scored is no reason to trust
    the challenger.
    """
    figures = {"rows": 0, "excluded": contest.excluded}
    if contest.champion_fault:
        return Verdict(False, f"the champion could not be scored: {contest.champion_fault}", figures)
    if contest.champion is None:
        return Verdict(True, "there is no champion yet to compare with", figures)
    ours, theirs = contest.paired()
    if not ours:
        why = f": the champion was trained on all {contest.excluded} of them" if contest.excluded else ""
        return Verdict(False, f"there is no test row to compare on{why}", figures)
    metric = choosing(contest)
    if not (metric.applies(ours) and metric.applies(theirs)):
        return Verdict(False, f"not both have answers that {metric.name} can be computed of", figures)
    return None


def choosing(contest: Contest) -> Metric:
    """The metric that chooses."""
    return next(iter(contest.metrics.values()))


def amount(figure: float, metric: Metric) -> str:
    """A difference with its sign, in the metric's units; of relative metrics, in per cent."""
    return f"{figure:+.2%}" if metric.relative else f"{figure:+.4g}"


def interval(difference: Difference, metric: Metric) -> str:
    low, high = amount(difference.low, metric), amount(difference.high, metric)
    return f"95 % interval {low} to {high}"


def _make(name: str, settings: Mapping[str, Any], registry: Registry) -> Gate:
    kind = registry.gate(name)
    valid, faults = validate(kind.Settings, dict(settings), name)
    if faults:
        raise PluginError("; ".join(f"{fault.place}: {fault.text}" for fault in faults))
    return kind(valid)


def _checked(verdict: Any) -> Verdict:
    """The same with plain values: a plugin's figures may be numpy's."""
    if not isinstance(verdict, Verdict):
        raise PluginError(f"the gate returned {verdict!r:.80}, expected a Verdict")
    figures = {str(name): _plain(figure) for name, figure in verdict.figures.items()}
    return Verdict(bool(verdict.passed), str(verdict.reason), figures)


def _plain(figure: Any) -> float:
    """Whole numbers stay whole."""
    number = float(figure)
    return int(number) if number.is_integer() else number
