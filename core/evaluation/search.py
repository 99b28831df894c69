"""Looking for the best in a search space, with optuna: what to try next, and what to give up early.

Tree-structured Parzen estimators: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", §4.
The median rule, by which a trial is given up whose figure on the way is worse than the median of the others'
at the same step: Golovin et al. 2017, "Google Vizier", §3.2.1. All is in memory, and a seed decides it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from ..config.tuning import space_as_json
from ..errors import StepError, StepladderError
from ..method import Between, OneOf, SearchSpace
from ..metric import Metric
from ..types import SearchReport, SplitName

# So many trials are finished before any is given up, and a third of all are drawn before TPE proposes.
UNPRUNED = 2
# What was tried before is not tried again; after so many draws for each trial the space counts as used up.
DRAWS = 10

Values = Mapping[str, Any]
GivenUp = optuna.TrialPruned


@dataclass(frozen=True, slots=True)
class Trial:
    """One try. `values` maps the names in the search space to what is tried."""

    number: int
    values: Values
    _trial: optuna.Trial

    def tell(self, figure: float, step: int) -> None:
        """A figure on the way, as good as the objective is. Raises GivenUp where others were better there."""
        self._trial.report(figure, step)
        if not math.isfinite(figure) or self._trial.should_prune():
            raise GivenUp


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended. `value` is the objective's, or None where it was not finished; then why."""

    number: int
    values: Values
    state: TrialState
    value: float | None = None
    fault: str = ""


Objective = Callable[[Trial], float]


@dataclass(frozen=True, slots=True)
class Search:
    """`first` are tried before all others. Figures are those of `metric`, or as good as them."""

    space: SearchSpace
    trials: int
    metric: Metric
    seed: int
    first: Sequence[Values] = ()

    def run(self, objective: Objective) -> list[Outcome]:
        """The outcome of each trial. A StepladderError ends a trial, not the search.

        Raises StepError where no trial could be finished.
        """
        study, tried = self._study(), dict[str, Outcome]()
        for _ in range(self.trials * DRAWS):
            if len(tried) == self.trials:
                break
            trial = study.ask()
            values = {name: _draw(trial, name, where) for name, where in self.space.items()}
            key = json.dumps(values, sort_keys=True)
            if key not in tried:
                tried[key] = _try(Trial(len(tried), values, trial), objective)
            study.tell(trial, tried[key].value, state=tried[key].state)
        return _some_finished(list(tried.values()))

    def best(self, outcomes: Sequence[Outcome]) -> Outcome:
        """Of the finished ones; the earliest of equals."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        return max(_finished(outcomes), key=lambda outcome: (sign * (outcome.value or 0.0), -outcome.number))

    def report(
        self, outcomes: Sequence[Outcome], split: SplitName, rows: int, seconds: float
    ) -> SearchReport:
        """`rows` of `split` are those that the objective was computed on."""
        best, states = self.best(outcomes), [outcome.state for outcome in outcomes]
        assert best.value is not None, "it is finished"
        return SearchReport(
            trials=len(outcomes),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            split=split,
            rows=rows,
            metric=self.metric.name,
            value=best.value,
            space=space_as_json(self.space),
            best=dict(best.values),
            seconds=seconds,
        )

    def _study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # its lines would stand between those of the step
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=max(1, self.trials // 3)),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
            direction="maximize" if self.metric.higher_is_better else "minimize",
        )
        for values in self.first:
            if all(_holds(where, values[name]) for name, where in self.space.items()):
                study.enqueue_trial({name: _drawn(self.space[name], values[name]) for name in self.space})
        return study


def _try(trial: Trial, objective: Objective) -> Outcome:
    try:
        value = objective(trial)
    except GivenUp:
        return Outcome(trial.number, trial.values, TrialState.PRUNED)
    except StepladderError as error:
        return Outcome(trial.number, trial.values, TrialState.FAIL, fault=str(error))
    if not math.isfinite(value):
        return Outcome(trial.number, trial.values, TrialState.FAIL, fault=f"its figure is {value}")
    return Outcome(trial.number, trial.values, TrialState.COMPLETE, value)


def _finished(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.state == TrialState.COMPLETE]


def _some_finished(outcomes: list[Outcome]) -> list[Outcome]:
    if not _finished(outcomes):
        fault = next(filter(None, (outcome.fault for outcome in outcomes)), "all were given up")
        raise StepError(f"none of {len(outcomes)} trials could be finished; the first: {fault}")
    return outcomes


def _draw(trial: optuna.Trial, name: str, where: Between | OneOf) -> Any:
    """Values of any kind are drawn by their places."""
    if isinstance(where, OneOf):
        return where.values[trial.suggest_categorical(name, range(len(where.values)))]
    return trial.suggest_float(name, where.low, where.high, log=where.log)


def _drawn(where: Between | OneOf, value: Any) -> Any:
    """What optuna must draw for that value."""
    return where.values.index(value) if isinstance(where, OneOf) else value


def _holds(where: Between | OneOf, value: Any) -> bool:
    return value in where.values if isinstance(where, OneOf) else where.low <= value <= where.high
