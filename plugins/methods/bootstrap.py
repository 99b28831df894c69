"""Bootstrap: a candidate labels rows without answers, and any method is fitted on what it is sure of.

Yarowsky 1995, "Unsupervised Word Sense Disambiguation Rivaling Supervised Methods" (labels above a
threshold of confidence are taken for true); Lee 2013, "Pseudo-Label: The Simple and Efficient
Semi-Supervised Learning Method for Deep Neural Networks"; with a prompt as the first teacher: Schick and
Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification and Natural Language Inference",
arXiv:2001.07676.

The confidence in a label is its share in the softmax over the scores of all labels. That is no promise to be
right as often: scores of a prompt are mostly too sure of themselves (Guo et al. 2017), and under the rule
"prior" they are no probabilities at all. So the validation rows say what it is worth: of those at or above
the confidence, how many are labelled rightly. The candidate's rule was chosen by the same rows, so that this
leans a little to the good side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from ...core.errors import StepError
from ...core.evaluation.confidence import probabilities
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Choice, Context, Data, Method
from ...core.model.added import with_rows
from ...core.model.base import Base
from ...core.types import Example, Prediction


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Bootstrap]


def sure(said: Sequence[Prediction], confidence: float) -> list[bool]:
    """Whether each answer has at least this probability; StepError where answers come without scores."""
    if not all(each.scores for each in said):
        raise StepError(
            "bootstrap: `by` names a candidate that gives no scores, so nothing says how sure it is"
        )
    return [probabilities(each.scores or {})[each.predicted] >= confidence for each in said]


def labelled(examples: Sequence[Example], said: Sequence[Prediction], kept: Sequence[bool]) -> list[Example]:
    """The kept examples with what was said of them as their answers."""
    rows = zip(examples, said, kept, strict=True)
    return [replace(example, expected=answer.predicted) for example, answer, keep in rows if keep]


class Bootstrap(Method):
    name = "bootstrap"
    rung = 0.0
    summary = "any method, on rows that a candidate has labelled too; its rung is theirs"
    answers = ("label",)
    bases = ("causal", "encoder")
    adapted = Adapted
    hands_on_to = "then"

    class Settings(Method.Settings):
        unlabelled: Path = Field(description="rows without answers, in any form that rows are read in")
        by: str = Field(description="id of the candidate that labels them, as `stepladder plan` shows it")
        confidence: float = Field(0.8, ge=0, le=1, description="probability from which on a label is taken")
        then: Choice = Field(description="the method that is fitted: its name, or {name: its settings}")

    settings: Settings

    @classmethod
    def needs(cls, settings: Any) -> Sequence[str]:
        return [settings.by]

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        examples = context.read(self.settings.unlabelled)
        with context.candidate(self.settings.by, base) as labeller:
            said = labeller.predict(examples)
            of_validation = labeller.predict(data.validation.examples())
        kept = sure(said, self.settings.confidence)
        context.note(labelled=sum(kept), below_confidence=len(kept) - sum(kept))
        self._check_worth(data, of_validation, context)
        more = with_rows(data, labelled(examples, said, kept), base)
        own, by = len(data.train), self.settings.by
        context.log(f"bootstrap: {own:,} training rows, and {sum(kept):,} that {by} labelled")
        return context.build(self.settings.then).fit(base, more, context)

    def _check_worth(self, data: Data, said: Sequence[Prediction], context: Context) -> None:
        """Note how often labels of this confidence are right, by the validation rows."""
        kept = sure(said, self.settings.confidence)
        rows = zip(data.validation.examples(), said, kept, strict=True)
        right = sum(answer.predicted == example.expected for example, answer, keep in rows if keep)
        context.note(validation_rows_as_sure=sum(kept), of_them_right=right)
