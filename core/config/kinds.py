"""Whether the methods can run on the kind of base that they are given, as config.json tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ..bases import DEFAULT_BASE, base_kind, known_model_config
from ..discovery import Registry
from ..method import Method
from ..types import BaseKind
from .document import Document
from .drafts import Draft
from .faults import Fault

DOES = {"causal": "writes", "encoder": "reads"}


@dataclass(frozen=True, slots=True)
class Footing:
    """The base by its name and its config.json, and the task that it is to do."""

    base: str
    model: Mapping[str, Any]
    task: str
    registry: Registry

    @property
    def kind(self) -> BaseKind:
        return base_kind(self.model)

    def faults(self, asked: Iterable[tuple[type[Method], BaseModel]], retains: bool) -> Iterator[Fault]:
        """Of methods with their settings; `retains` is whether forgetting is to be measured."""
        if retains and self.kind == "encoder":
            yield Fault(
                "retain",
                f"{self.base} is an encoder, which predicts no text, so that nothing shows what it forgot: "
                "remove `retain`",
            )
        for method, settings in asked:
            fault = self._method_fault(method, settings)
            if fault:
                yield Fault(f"methods.{method.name}", fault)

    def _method_fault(self, method: type[Method], settings: BaseModel) -> str | None:
        if self.kind not in method.bases:
            return self._other_kind(method)
        answers = method.answers_on(settings, self.kind)
        if self.registry.task(self.task).answering not in answers:
            able = [name for name, task in self.registry.tasks.items() if task.answering in answers]
            return (
                f"with these settings and on {self.base} (its kind: {self.kind}) it does the tasks "
                f"{', '.join(able) or 'none'}, found {self.task!r}"
            )
        return method.base_fault(settings, self.model)

    def _other_kind(self, method: type[Method]) -> str:
        wanted = " or ".join(DOES[kind] for kind in method.bases)
        able = [
            other
            for other in self.registry.methods.values()
            if self.kind in other.bases and self.task in self.registry.tasks_of(other)
        ]
        names = ", ".join(other.name for other in sorted(able, key=lambda other: other.rung))
        return (
            f"needs a base that {wanted}; {self.base} is {_with_article(self.kind)}: "
            f"methods that run on it: {names or 'none'}"
        )


def check_kinds(
    document: Document, task: str | None, drafts: Iterable[Draft], registry: Registry
) -> Iterator[Fault]:
    """Faults of methods on a base whose config.json is at hand; of others the step that plans tells them."""
    base = document.values.get("base", DEFAULT_BASE)
    model = known_model_config(base) if isinstance(base, str) else None
    if model is None or task is None:
        return
    footing = Footing(base, model, task, registry)
    asked = [(draft.method, draft.settings) for draft in drafts if task in registry.tasks_of(draft.method)]
    yield from dict.fromkeys(footing.faults(asked, retains=bool(document.values.get("retain"))))


def _with_article(kind: BaseKind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind} model"
