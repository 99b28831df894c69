"""Candidates that answer in words: a base, what is attached to it, and a prompt.

Closed answers are decided by the likelihood of each option's words. Three rules turn its tokens'
log-probabilities into a score: their sum, their mean, and the sum less the option's sum after a
content-free input (Zhao et al. 2021, arXiv:2102.09690; Holtzman et al. 2021, arXiv:2104.08315). Which of
them is used is chosen on validation rows, in the same way for every worded candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from safetensors.torch import load_file, save_file

from ..data.numbers import number_as_text, number_in
from ..data.wording import Wording, content_free
from ..decoder import Writer
from ..errors import ModelError, StepError
from ..method import Adapted, DataSchema, Method, Prompt, Trainable
from ..types import Encoded, Example, MergeReport, Message, Prediction, Sampling, Written
from .base import Base
from .engine import TreeEngine
from .generate import Continuation, Decoding, generate
from .nearest import Nearest, load_nearest, save_nearest
from .prompts import read_beside, read_prompt, write_prompt
from .root import learned_length

Rule = Literal["sum", "mean", "prior"]
RULE_ROWS = 128
WEIGHTS = "weights.safetensors"
MERGE_PROBE = "The merged weights must say what the adapter said."


@dataclass(frozen=True)
class OptionScore:
    """One option of one example: summed log-probability (nats), its tokens, and the sum without input."""

    option: str
    total: float
    tokens: int
    prior: float

    def score(self, rule: Rule) -> float:
        if rule == "mean":
            return self.total / self.tokens
        return self.total - self.prior if rule == "prior" else self.total


class Worded(Adapted, Writer):
    """A base that answers by a prompt, with or without learned weights attached."""

    def __init__(
        self,
        base: Base,
        schema: DataSchema,
        prompt: Prompt,
        method: Method,
        trainable: Trainable | None = None,
        nearest: Nearest | None = None,
    ) -> None:
        self.base = base
        self.prompt = prompt
        self.method = method
        self.trainable = trainable
        self.rule: Rule = "sum"
        self.nearest = nearest
        self.wording = Wording(base.renderer, schema, prompt, nearest.places if nearest else None)
        self.trainable_parameters = trainable.count() if trainable else 0
        self.alters_base = trainable is not None

    @property
    def task_answering(self) -> str:
        return self.wording.schema.task.answering

    @property
    def _is_closed(self) -> bool:
        return self.task_answering in ("label", "choose")

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        by_answering: dict[str, Callable[[Sequence[Example]], list[Prediction]]] = {
            "label": self._choose,
            "choose": self._choose,
            "generate": self._write_answers,
            "number": self._write_numbers,
            "likelihood": self._likelihoods,
        }
        return by_answering[self.task_answering](examples)

    def calibrate(self, examples: Sequence[Example]) -> None:
        """Take the rule that is right most often on these examples; the earlier rule where equal."""
        if self._is_closed and examples:
            self.predict_calibrated(examples[:RULE_ROWS])

    def predict_calibrated(self, examples: Sequence[Example]) -> list[Prediction]:
        """Take the rule that is right most often on these examples, and answer them by it, scored once."""
        if not self._is_closed:
            return self.predict(examples)
        scored = self.option_scores(examples)

        def right(rule: Rule) -> int:
            return sum(
                _best(options, rule) == example.expected
                for example, options in zip(examples, scored, strict=True)
            )

        self.rule = max(get_args(Rule), key=right)
        return self._decide(examples, scored)

    def option_scores(self, examples: Sequence[Example]) -> list[list[OptionScore]]:
        """Every option of every example, scored; with the prior of each where a rule may need it."""
        totals = self._option_log_probabilities(examples)
        priors = self._option_log_probabilities([content_free(example) for example in examples])
        return [
            [
                OptionScore(option, sum(values), len(values), sum(prior[option]))
                for option, values in options.items()
            ]
            for options, prior in zip(totals, priors, strict=True)
        ]

    def _option_log_probabilities(self, examples: Sequence[Example]) -> list[dict[str, list[float]]]:
        schema = self.wording.schema
        pairs = [
            (index, example, option)
            for index, example in enumerate(examples)
            for option in schema.task.options(example, schema.labels)
        ]
        encoded = self.wording.answers([(example, option) for _, example, option in pairs])
        results: list[dict[str, list[float]]] = [{} for _ in examples]
        for (index, _, option), values in zip(pairs, self._log_probabilities(encoded), strict=True):
            results[index][option] = values
        return results

    def _log_probabilities(self, rows: Sequence[Encoded]) -> list[list[float]]:
        """Scored once for each distinct row."""
        self._require_room(max((len(row.tokens) for row in rows), default=0))
        keys = [(tuple(row.tokens), row.trained.index(True)) for row in rows]
        distinct = dict(zip(keys, rows, strict=True))
        values = dict(zip(distinct, self.base.engine.log_probabilities(list(distinct.values())), strict=True))
        return [values[key] for key in keys]

    def _choose(self, examples: Sequence[Example]) -> list[Prediction]:
        if self.rule == "prior":
            scored = self.option_scores(examples)
        else:
            scored = [
                [OptionScore(option, sum(values), len(values), 0.0) for option, values in options.items()]
                for options in self._option_log_probabilities(examples)
            ]
        return self._decide(examples, scored)

    def _decide(
        self, examples: Sequence[Example], scored: Sequence[Sequence[OptionScore]]
    ) -> list[Prediction]:
        return [
            Prediction(
                example.id,
                _best(options, self.rule),
                scores={option.option: option.score(self.rule) for option in options},
            )
            for example, options in zip(examples, scored, strict=True)
        ]

    def _write_answers(self, examples: Sequence[Example]) -> list[Prediction]:
        assert self.method.decoder is not None, "worded methods are built with a decoder"
        answers = self.method.decoder.decode(self, examples)
        return [
            Prediction(example.id, answer.text, written_tokens=answer.written_tokens)
            for example, answer in zip(examples, answers, strict=True)
        ]

    def _write_numbers(self, examples: Sequence[Example]) -> list[Prediction]:
        """The first number that is written; where none is, all that is written, for the user to see."""
        written = self._write_answers(examples)
        numbers = [number_in(answer.predicted) for answer in written]
        return [
            answer if number is None else replace(answer, predicted=number_as_text(number))
            for answer, number in zip(written, numbers, strict=True)
        ]

    def _likelihoods(self, examples: Sequence[Example]) -> list[Prediction]:
        rows = [row for row in self.wording.encode(examples) if isinstance(row, Encoded)]
        assert len(rows) == len(examples), "text rows that cannot be encoded were quarantined before"
        self._require_room(max((len(row.tokens) for row in rows), default=0))
        return [
            Prediction(example.id, "", negative_log_likelihood=-sum(values), tokens=len(values))
            for example, values in zip(examples, self.base.engine.log_probabilities(rows), strict=True)
        ]

    @property
    def max_new_tokens(self) -> int:
        return getattr(self.method.settings, "max_new_tokens", 128)

    def write(self, examples: Sequence[Example], sampling: Sampling, count: int = 1) -> list[list[Written]]:
        nothing = [Written("", 0)] * len(examples)
        return self.extend(examples, nothing, sampling, count, self.max_new_tokens)

    def extend(
        self,
        examples: Sequence[Example],
        beginnings: Sequence[Written],
        sampling: Sampling,
        count: int,
        most_tokens: int,
    ) -> list[list[Written]]:
        longest = max((len(begun.ids) for begun in beginnings), default=0)
        limit = min(most_tokens, self.max_new_tokens - longest)
        asked = self.wording.prompts(examples)
        prompts = [[*prompt, *begun.ids] for prompt, begun in zip(asked, beginnings, strict=True)]
        self._require_room(max(map(len, prompts), default=0) + limit)
        decoding = Decoding(**asdict(sampling), max_new_tokens=limit, count=count)
        shared = isinstance(self.base.engine, TreeEngine)
        drawn = generate(self.base.model, prompts, self.base.renderer.stop_ids, decoding, shared)
        return [
            [self._written(begun, each) for each in continuations]
            for begun, continuations in zip(beginnings, drawn, strict=True)
        ]

    def _written(self, begun: Written, drawn: Continuation) -> Written:
        ids = (*begun.ids, *drawn.tokens)
        text = self.base.renderer.tokenizer.decode(ids, skip_special_tokens=True)
        return Written(
            text=text.strip(),
            tokens=begun.tokens + len(drawn.log_probabilities),
            log_probability=(begun.log_probability or 0.0) + sum(drawn.log_probabilities),
            ended=drawn.ended,
            ids=ids,
        )

    def log_probabilities(self, pairs: Sequence[tuple[Example, str]]) -> list[list[float]]:
        return self._log_probabilities(self.wording.answers(pairs))

    def scorer_faults(self) -> Mapping[str, int] | None:
        scorer = self.method.decoder.scorer if self.method.decoder else None
        return scorer.faults if scorer else None

    def _require_room(self, tokens: int) -> None:
        """Raises StepError where prompt and answer are longer than the base can attend to."""
        context, learned = self.base.context_length, learned_length(self.base.model)
        if tokens > context - learned:
            before = f", {learned} learned ones before them included" if learned else ""
            raise StepError(
                f"{self.method.name}: prompt and answer take up to {tokens} tokens, and {self.base.ref.name} "
                f"attends to {context}{before}: lower {'length' if learned else 'shots'} or max_new_tokens, "
                "or set data.max_length"
            )

    def save(self, folder: Path) -> None:
        write_prompt(folder, self.prompt, rule=self.rule, **save_nearest(self.nearest, folder))
        if self.trainable:
            tensors = {name: tensor.contiguous() for name, tensor in self.trainable.tensors().items()}
            save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        prompt = read_prompt(folder)
        weights = folder / WEIGHTS
        trainable = attach_saved(load_file(weights), weights, base, method) if weights.is_file() else None
        worded = cls(base, schema, prompt, method, trainable, load_nearest(folder, prompt, base))
        worded.rule = read_beside(folder, "rule")
        return worded

    def detach(self) -> None:
        if self.trainable:
            self.trainable.detach()

    def merge(self) -> MergeReport | None:
        if self.trainable is None or self.trainable.merge is None:
            return None
        probes = merge_probes(self.base)
        before = self.base.engine.probe_logits(probes)
        self.trainable.merge()
        after = self.base.engine.probe_logits(probes)
        self.trainable = None
        return MergeReport(float((before - after).abs().max()), sum(len(probe) for probe in probes))


def merge_probes(base: Base) -> list[list[int]]:
    """Token ids on which merged and attached weights are compared."""
    return [base.renderer.prompt([Message("user", MERGE_PROBE)])]


def attach_saved(saved: Mapping[str, torch.Tensor], weights: Path, base: Base, method: Method) -> Trainable:
    """Attach what was read from the file `weights`. Raises ModelError where it does not fit the base."""
    attach: Callable[[Any], Trainable] = method.attach  # type: ignore[attr-defined]
    trainable = attach(base.model)
    attached = trainable.tensors()
    found, expected = _shapes(saved), _shapes(attached)
    if found != expected:
        raise ModelError(
            f"{weights}: its tensors do not fit this base: {len(expected)} expected, {len(found)} found, "
            f"{len(expected.items() & found.items())} of the same name and shape: fitted on another base?"
        )
    for name, tensor in attached.items():
        tensor.copy_(saved[name])
    return trainable


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _best(options: Sequence[OptionScore], rule: Rule) -> str:
    return max(options, key=lambda option: option.score(rule)).option
