"""`tune`: one candidate fitted several times, its settings searched by its figure on validation rows.

Each trial starts from the base as it lies on disk, loaded anew, so that nothing stays behind of what the one
before attached or altered. A trial whose validation loss is worse than the median of the others' after as
many validations is given up. The best trial's artifact is the candidate's; what all trials cost is its cost.
A search that was killed asks for the same trials again: those that have ended are not fitted again but for
the best, whose weights are found among its checkpoints.
"""

from __future__ import annotations

import gc
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.tuning import space_from_json
from ..errors import DiskFull, StepError, StepladderError
from ..evaluation.score import records
from ..evaluation.search import GivenUp, Search, Trial
from ..method import Adapted, Data, LoopSettings, Rows, Trainable
from ..metric import Metric
from ..training.context import FitContext
from ..types import TrainReport
from .candidate import say
from .fitting import Fitted, Fitting
from .trials import Journal

if TYPE_CHECKING:
    from ..model.base import Base

TRIALS = "trials"
TOKENS = ("trained_tokens", "replay_tokens")
ARTIFACT, CURVES = "artifact", "progress.jsonl"


class TrialContext(FitContext):
    """Tells the search of each validation, and counts what a trial costs that is given up too."""

    def __init__(self, folder: Path, trial: Trial, metric: Metric, fitting: Fitting) -> None:
        keeping = fitting.keeping.below(f"trial-{trial.number}") if fitting.keeping else None
        super().__init__(folder, fitting.replay, fitting.lent, keeping)
        self.keeping = keeping
        self.tokens = dict.fromkeys(TOKENS, 0)
        self.train_seconds = 0.0
        self._trial = trial
        self._sign = -1.0 if metric.higher_is_better else 1.0
        self._validations = 0
        self._told: Mapping[str, float] = {}

    def progress(self, **figures: float) -> None:
        """A lower loss is told in the direction of the metric."""
        super().progress(**figures)
        self._told = {**self._told, **figures}
        if "validation_loss" in figures:
            self._validations += 1
            self._trial.tell(self._sign * figures["validation_loss"], step=self._validations)

    def train(
        self, base: Base, trainable: Trainable, rows: Rows, validation: Rows, settings: LoopSettings
    ) -> TrainReport:
        started, self._told = time.perf_counter(), {}
        try:
            report = super().train(base, trainable, rows, validation, settings)
        except BaseException:
            self.train_seconds += time.perf_counter() - started
            raise
        finally:
            self.tokens = {kind: self.tokens[kind] + int(self._told.get(kind, 0)) for kind in TOKENS}
        self.train_seconds += report.train_seconds
        return report

    def cost(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "train_seconds": self.train_seconds}

    def find_again(self, ended: Mapping[str, Any]) -> None:
        """What the trial had told and cost when it ended. Raises GivenUp where it was given up."""
        self.tokens, self.train_seconds = ended["tokens"], ended["train_seconds"]
        for point in self.keeping.points() if self.keeping else ():
            self.progress(**point)

    def drop_weights(self) -> None:
        """Of a trial that is beaten: they may be all weights of the base."""
        if self.keeping:
            self.keeping.drop()


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial so far; `left` is what its fit says of itself."""

    number: int
    value: float
    left: Mapping[str, Any]


def tune(fitting: Fitting, folder: Path) -> tuple[FitContext, dict[str, Any]]:
    """Fits trial after trial; the best one's files come to lie in `folder`.

    Returns its context, and what the fit step says.
    """
    return Tuning(fitting, folder).run()


class Tuning:
    """Fits trial after trial in folders below `folder`; only the best one's files are kept."""

    def __init__(self, fitting: Fitting, folder: Path) -> None:
        """Raises StepError without validation rows."""
        plan = fitting.candidate["tune"]  # as core/config/tuning.py reads it
        assert fitting.data.metric is not None, "given to candidates that search"
        if not len(fitting.data.validation):
            raise StepError("tune searches on validation rows, and there are none: raise data.validation")
        given, space = fitting.candidate["settings"], space_from_json(plan["space"])
        first = [{name: given[name] for name in space}]
        self.fitting = fitting
        self.folder = folder
        self.metric = fitting.data.metric
        self.search = Search(space, plan["trials"], self.metric, given.get("seed", 0), first)
        self.journal = Journal(fitting.keeping.folder if fitting.keeping else None, self.metric)
        self.contexts: list[TrialContext] = []
        self.fit_seconds = 0.0
        self.best: Best | None = None

    def run(self) -> tuple[FitContext, dict[str, Any]]:
        """The best trial's context, and what the fit step returns."""
        started = time.perf_counter()
        outcomes = self.search.run(self._try)
        assert self.best is not None, "the search raises where no trial was finished"
        for name in (ARTIFACT, CURVES):
            (self._folder(self.best.number) / name).rename(self.folder / name)
        shutil.rmtree(self.folder / TRIALS)
        rows, seconds = len(self.fitting.data.validation), time.perf_counter() - started
        report = self.search.report(outcomes, "validation", rows, seconds)
        said = {**self.best.left, **self._cost(), "tuned": asdict(report)}
        return self.contexts[self.best.number], said

    def _try(self, trial: Trial) -> float:
        folder = self._folder(trial.number)
        folder.mkdir(parents=True)
        context = TrialContext(folder, trial, self.metric, self.fitting)
        self.contexts.append(context)
        say(f"trial {trial.number + 1}: {told(trial.values)}")
        ended = self.journal.of(trial)
        if ended:
            return self._found_again(trial, context, ended)
        try:
            return self._fit(trial, context)
        except (GivenUp, StepladderError) as error:
            if not isinstance(error, DiskFull):
                self.journal.add(trial, None, str(error), {**context.cost(), "fit_seconds": 0.0})
                context.drop_weights()
            raise

    def _found_again(self, trial: Trial, context: TrialContext, ended: Mapping[str, Any]) -> float:
        """The figure of a trial that had ended when the search was killed. Raises what that had raised."""
        context.find_again(ended)
        self.fit_seconds += ended["fit_seconds"]
        if ended["value"] is None:
            raise StepError(ended["fault"])
        value = float(ended["value"])
        say(f"trial {trial.number + 1}: {self.metric.name} {value:.4g}, done before")
        return value

    def _fit(self, trial: Trial, context: TrialContext) -> float:
        gc.collect()  # the base of the trial before, whose parts may hold each other
        fitted = self.fitting.fit(trial.values, context)
        self.fit_seconds += fitted.seconds
        value = judged(fitted.adapted, self.fitting.data, self.metric)
        say(f"trial {trial.number + 1}: {self.metric.name} {value:.4g}")
        self.journal.add(trial, value, "", {**context.cost(), "fit_seconds": fitted.seconds})
        self._keep_best(trial.number, value, fitted)
        return value

    def _keep_best(self, number: int, value: float, fitted: Fitted) -> None:
        """No other artifact stays, nor any other weights."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        if not math.isfinite(value) or (self.best and sign * value <= sign * self.best.value):
            self.contexts[number].drop_weights()
            return
        if self.best:
            shutil.rmtree(self._folder(self.best.number) / ARTIFACT)
            self.contexts[self.best.number].drop_weights()
        self.best = Best(number, value, fitted.save(self._folder(number) / ARTIFACT))

    def _cost(self) -> dict[str, Any]:
        """Of all trials, those given up included; without a training loop, the seconds of the fits."""
        seconds = sum(context.train_seconds for context in self.contexts)
        return {
            "train_seconds": seconds or self.fit_seconds,
            **{kind: sum(context.tokens[kind] for context in self.contexts) for kind in TOKENS},
        }

    def _folder(self, number: int) -> Path:
        return self.folder / TRIALS / str(number)


def judged(adapted: Adapted, data: Data, metric: Metric) -> float:
    """The figure on validation rows. Raises StepError where the answers give none."""
    examples = data.validation.examples()
    said = records(examples, adapted.predict(examples))
    if not metric.applies(said):
        raise StepError(f"{metric.name} cannot be computed of the answers")
    return metric.value(said)


def told(values: Mapping[str, Any]) -> str:
    """`learning_rate 0.00213, epochs 3`."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
