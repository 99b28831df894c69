"""Prompt search: the text of the prompt is looked for, the weights stay as they are.

Instructions are the user's own and those that the base itself proposes: paraphrases of it, and what it reads
off answered rows (Zhou et al. 2022, "Large Language Models Are Human-Level Prompt Engineers",
arXiv:2211.01910, §3.1 and §3.3). Demonstrations are bootstrapped: rows that the base answers rightly by the
user's own prompt come first (Khattab et al. 2023, "DSPy", arXiv:2310.03714, §4). Both are searched together
(Opsahl-Ong et al. 2024, "MIPRO", arXiv:2406.11695), on slices of rows that grow: what is worse than the
others after 16 rows is given up.

The rows searched on are train rows that are never shown, so that the candidate's figure on validation rows,
by which the run chooses, is as honest as anyone's. Where train has too few rows to spare, validation rows are
searched on, and the run says so.
"""

from __future__ import annotations

import json
import math
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from pydantic import Field

from ...core.data.demonstrations import UNLESS_TOLD, number_of_shots, spread
from ...core.errors import StepError
from ...core.evaluation.score import records
from ...core.evaluation.search import Search, Trial
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, DataSchema, Method, OneOf, Prompt, Style, WordedSettings
from ...core.metric import Metric
from ...core.model.asked import Asked
from ...core.model.base import Base
from ...core.model.prompted import PromptMethod
from ...core.model.worded import Worded
from ...core.types import BaseKind, Example, Message, Prediction, Record, Sampling, SplitName

FIRST_ROWS = 16
# Fewer held-out train rows than this cannot tell prompts apart: one of 32 is 3 %.
LEAST_ROWS = 32
# Train rows that the base is asked, to find those that it answers rightly.
ASKED_ROWS = 64
DRAWS = 3
SHOWN_TO_PROPOSER = 4
MOST_WORDS = 60
LEAST_WORDS = 3
NONE = "none"

PARAPHRASE = (
    "Say this instruction in other words and keep its meaning:\n\n{instruction}\n\n"
    "Write the new instruction in one or two sentences, and nothing else."
)
INDUCE = (
    "Each of these inputs was given the answer below it.\n\n{shown}\n\n"
    "Write the instruction that was followed, in one or two sentences, and nothing else."
)


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [PromptSearch]


@dataclass(frozen=True)
class Rows:
    """Rows to search on, of that split, and rows that may be shown; no row is both."""

    searched: Sequence[Example]
    shown: Sequence[Example]
    split: SplitName


@dataclass(frozen=True)
class Texts:
    """What prompts are made of; demonstrations by the words in which a search tells them apart."""

    instructions: Sequence[str]
    demonstrations: Mapping[str, tuple[Example, ...]]

    def prompt(self, values: Mapping[str, str], style: Style) -> Prompt:
        shown = self.demonstrations[values["demonstrations"]]
        return Prompt(style, shown, instruction=values["instruction"])


def hold_out(train: Sequence[Example], validation: Sequence[Example], rows: int, seed: int) -> Rows:
    """Half of the train rows at most are searched on; validation rows where that is too few, and fewer."""
    held = spread(train, min(rows, len(train) // 2), seed)
    if len(held) < LEAST_ROWS and len(held) < len(validation):
        return Rows(spread(validation, rows, seed), train, "validation")
    kept = {example.id for example in held}
    return Rows(held, [example for example in train if example.id not in kept], "train")


def slices(rows: Sequence[Example]) -> list[Sequence[Example]]:
    """The first 16 rows, as many again, twice as many, and so on."""
    ends = [0, FIRST_ROWS]
    while ends[-1] < len(rows):
        ends.append(2 * ends[-1])
    return [rows[start:end] for start, end in pairwise(ends) if start < len(rows)]


def requests(instruction: str, shown: Sequence[Example], count: int, seed: int) -> list[str]:
    """What the base is asked: for a paraphrase, and every other time for what it reads off rows."""
    asked = []
    for number in range(count):
        if instruction and number % 2 == 0:
            asked.append(PARAPHRASE.format(instruction=instruction))
        else:
            drawn = spread(shown, SHOWN_TO_PROPOSER, seed + number)
            pairs = "\n\n".join(f"Input: {each.input}\nAnswer: {each.expected}" for each in drawn)
            asked.append(INDUCE.format(shown=pairs))
    return asked


def cleaned(text: str) -> str:
    """The first paragraph of what was written, on one line, without a title or quotes around it."""
    paragraph = text.strip().split("\n\n")[0]
    head, colon, rest = paragraph.partition(":")
    body = (
        rest
        if colon and rest.strip() and "instruction" in head.lower() and len(head.split()) < 6
        else paragraph
    )
    return " ".join(body.split()).strip("\"'“”*` ")


def usable(written: Iterable[str], own: str) -> list[str]:
    """The instruction that there is, then those written that are of a fit length, each once."""
    most = max(MOST_WORDS, 2 * len(own.split()))
    kept = {_key(own): own}
    for text in map(cleaned, written):
        if LEAST_WORDS <= len(text.split()) <= most:
            kept.setdefault(_key(text), text)
    return list(kept.values())


def _key(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def answered_rightly(metric: Metric, said: Sequence[Record]) -> set[str]:
    """Ids of the rows with at least the mean row score: where that is 0 or 1, those with 1.

    Where a metric has no score of a row, those answered exactly as expected.
    """
    scores = {record.id: score for record in said if (score := metric.row(record)) is not None}
    if len(scores) < len(said):
        return {record.id for record in said if record.predicted == record.expected}
    sign = 1.0 if metric.higher_is_better else -1.0
    mean = fmean(scores.values())
    return {row for row, score in scores.items() if sign * score >= sign * mean}


def figure(metric: Metric, said: Sequence[Record]) -> float:
    """Raises StepError where the answers do not give any."""
    if not metric.applies(said):
        raise StepError(f"prompt_search: {metric.name} cannot be computed of the answers to this prompt")
    return metric.value(said)


def told(trial: Trial) -> str:
    """`8 rows, draw 1, before 'Which intent …'`."""
    instruction = textwrap.shorten(trial.values["instruction"], 60, placeholder="…")
    return f"{trial.values['demonstrations']}, before {instruction!r}"


def sets(
    rows: Sequence[Example], shots: int, seed: int, preferred: set[str]
) -> dict[str, tuple[Example, ...]]:
    """No demonstrations, and some draws of `shots` rows and of half as many."""
    drawn: dict[str, tuple[Example, ...]] = {NONE: ()}
    for size in dict.fromkeys([min(shots, len(rows)), min(shots, len(rows)) // 2]):
        for draw in range(DRAWS if size else 0):
            shown = tuple(spread(rows, size, seed + draw, preferred))
            drawn[f"{size} rows, draw {draw + 1}"] = shown
    return drawn


def placeholder(data: DataSchema, conversations: bool) -> Example:
    """What stands for a row in a prompt that is written down; `conversations`: whether rows come as such."""
    turns = (Message("user", "{input}"), Message("assistant", "{answer}"))
    options = ("{option}", "{option}") if data.task.answering == "choose" else ()
    return Example("prompt", "{input}", "{answer}", turns if conversations else (), options)


class SearchedPrompt(Worded):
    """A base behind the prompt that was found, which lies beside it for people to read."""

    conversations = False  # whether the rows came as such

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "prompt.txt").write_text(self.rendered(), encoding="utf-8")

    def rendered(self) -> str:
        """The whole prompt as the base reads it, with a placeholder for the question's input."""
        return self.wording.text(placeholder(self.wording.schema, self.conversations))


class SearchedChat(Asked):
    """An endpoint behind the prompt that was found, which lies beside it for people to read."""

    conversations = False

    def save(self, folder: Path) -> None:
        super().save(folder)
        turns = self.wording.turns(placeholder(self.wording.schema, self.conversations))
        text = "\n\n".join(f"[{turn.role}]\n{turn.content}" for turn in turns)
        (folder / "prompt.txt").write_text(text, encoding="utf-8")


Searched = SearchedPrompt | SearchedChat


def answer_calibrated(candidate: Searched, examples: Sequence[Example]) -> list[Prediction]:
    """The answers to these examples; by them the reading of probabilities is settled, where there are any."""
    if isinstance(candidate, SearchedPrompt):
        return candidate.predict_calibrated(examples)
    return candidate.predict(examples)


class PromptSearch(PromptMethod):
    name = "prompt_search"
    rung = 0.25
    summary = "the prompt's text is searched: instructions and demonstrations; weights frozen"
    answers = ("label", "choose", "generate", "number")
    searches = True

    class Settings(WordedSettings):
        trials: int = Field(16, ge=1, description="prompts that are tried")
        shots: int | None = Field(None, ge=0, description=f"answered rows in a prompt at most; {UNLESS_TOLD}")
        proposals: int = Field(6, ge=0, description="instructions that the base is asked to propose")
        rows: int = Field(64, ge=FIRST_ROWS, description="rows that a prompt is tried on at most")
        style: Style = "instruction"
        seed: int = 0

    settings: Settings

    def adapted_on(self, kind: BaseKind) -> type[Adapted]:
        return SearchedChat if kind == "endpoint" else SearchedPrompt

    def data_fault(self, data: Data) -> str | None:
        if len(data.train) < 2 and not len(data.validation):
            return "there is no row to search on: expected two training rows or a validation row at least"
        return None

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        started = time.perf_counter()
        settings = self.settings
        rows = hold_out(data.train.examples(), data.validation.examples(), settings.rows, settings.seed)
        bench = Bench(self, base, data, rows, context)
        texts = bench.texts()
        search = self._search(texts, bench.metric)
        outcomes = search.run(lambda trial: bench.score(trial, texts.prompt(trial.values, settings.style)))
        found = bench.candidate(texts.prompt(search.best(outcomes).values, settings.style))
        if isinstance(found, SearchedPrompt):
            found.calibrate(data.validation.examples())
        seconds = time.perf_counter() - started
        found.searched = search.report(outcomes, rows.split, len(rows.searched), seconds)
        return found

    def _search(self, texts: Texts, metric: Metric) -> Search:
        """The user's own instruction is tried first, alone and behind demonstrations."""
        instructions, demonstrations = tuple(texts.instructions), tuple(texts.demonstrations)
        space = {"instruction": OneOf(instructions), "demonstrations": OneOf(demonstrations)}
        first = [{"instruction": instructions[0], "demonstrations": name} for name in demonstrations[:2]]
        return Search(space, self.settings.trials, metric, self.settings.seed, first)


@dataclass
class Tried:
    """A prompt at work, and what it has said to each slice of the rows so far."""

    candidate: Searched
    metric: Metric
    said: list[list[Record]] = field(default_factory=list)

    def figure(self, parts: Sequence[Sequence[Example]]) -> float:
        """Over these slices, as far as they are new; the rule that scores options is taken on the first."""
        for part in parts[len(self.said) :]:
            candidate = self.candidate
            answers = candidate.predict(part) if self.said else answer_calibrated(candidate, part)
            self.said.append(records(part, answers))
        return figure(self.metric, [record for part in self.said for record in part])


@dataclass(frozen=True)
class Bench:
    """Where prompts are made and tried: one base, and the rows that were set apart."""

    method: PromptSearch
    base: Base
    data: Data
    rows: Rows
    context: Context

    @property
    def metric(self) -> Metric:
        assert self.data.metric is not None, "given to methods that say `searches`"
        return self.data.metric

    def candidate(self, prompt: Prompt) -> Searched:
        schema = DataSchema(self.data.task, self.data.instruction, self.data.labels)
        kind = SearchedChat if self.base.kind == "endpoint" else SearchedPrompt
        candidate = kind(self.base, schema, prompt, self.method)
        candidate.conversations = bool(self.rows.shown and self.rows.shown[0].messages)
        return candidate

    def texts(self) -> Texts:
        settings = self.method.settings
        shots = number_of_shots(settings.shots, self.data.labels)
        proposed = self.context.remember("proposed", self._proposed)
        instructions = usable(proposed, self.data.instruction)
        right = self.context.remember("right", self._answered_rightly) if shots else []
        self._log(
            f"on {len(self.rows.searched)} {self.rows.split} rows; {len(instructions) - 1} of "
            f"{settings.proposals} proposed instructions can be used; {len(right)} rows are answered rightly "
            "and shown first"
        )
        return Texts(instructions, sets(self.rows.shown, shots, settings.seed, set(right)))

    def _proposed(self) -> list[str]:
        """What the base writes in its chat form, at a temperature that makes it vary."""
        settings = self.method.settings
        asked = requests(self.data.instruction, self.rows.shown, settings.proposals, settings.seed)
        examples = [
            Example(f"request-{number}", text, "", (Message("user", text), Message("assistant", "")))
            for number, text in enumerate(asked)
        ]
        writer = self.candidate(Prompt(instruction=""))
        drawn = writer.write(examples, Sampling(temperature=0.8, top_p=0.95, seed=settings.seed))
        return [written.text for (written,) in drawn]

    def _answered_rightly(self) -> list[str]:
        asked = spread(self.rows.shown, ASKED_ROWS, self.method.settings.seed)
        if not asked:
            return []
        plain = self.candidate(Prompt(self.method.settings.style))
        return sorted(answered_rightly(self.metric, records(asked, answer_calibrated(plain, asked))))

    def score(self, trial: Trial, prompt: Prompt) -> float:
        """The metric over all rows, told slice by slice."""
        parts, tried = slices(self.rows.searched), Tried(self.candidate(prompt), self.metric)
        value, end = math.nan, 0
        for count, part in enumerate(parts, start=1):
            end += len(part)
            key = json.dumps([*trial.values.values(), end])
            value = self.context.remember(key, partial(tried.figure, parts[:count]))
            self._log(f"prompt {trial.number + 1}: {value:.4g} on {end} rows, {told(trial)}")
            if count < len(parts):
                trial.tell(value, step=end)
        return value

    def _log(self, message: str) -> None:
        self.context.log(f"prompt_search: {message}")
