"""Whether the methods can run on the kind of base that they are given, as config.json tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

from pydantic import BaseModel

from ..bases import DEFAULT_BASE, abilities, base_kind, known_model_config, quantisation
from ..discovery import Registry
from ..method import Answering, Method
from ..types import Ability, BaseKind
from .decoders import name_and_settings
from .document import Document
from .drafts import Draft
from .faults import Fault

DOES = {"causal": "a base that writes", "encoder": "a base that reads", "none": "no base (`base: null`)"}
IS = {
    "causal": "is a causal model",
    "encoder": "is an encoder",
    "endpoint": "is an endpoint",
    "none": "is none",
}
# Kinds that tell no probability of a text, and why.
UNTOLD = {
    "encoder": "predicts no text",
    "endpoint": "tells no probabilities",
    "none": "predicts no text",
}
WRITTEN: tuple[Answering, ...] = ("generate", "number")
ASKS: Mapping[Ability, str] = {
    "write": "write answers",
    "likelihood": "tell how likely an answer is",
    "extend": "go on from a beginning",
}
# Sections of a config for which the base must predict text, and what they would do with it.
NEED_TEXT = {
    "retain": "so that nothing shows what it forgot",
    "replay": "so that none can be trained on beside the rows",
}


@dataclass(frozen=True, slots=True)
class Footing:
    """The base by its name, its kind and its config.json (empty without one), and the task it is to do."""

    base: str
    kind: BaseKind
    model: Mapping[str, Any]
    task: str
    registry: Registry

    @classmethod
    def on(cls, base: str, model: Mapping[str, Any], task: str, registry: Registry) -> Self:
        """On a base with this config.json."""
        return cls(base, base_kind(model), model, task, registry)

    def faults(
        self, asked: Iterable[tuple[type[Method], BaseModel]], sections: Mapping[str, Any]
    ) -> Iterator[Fault]:
        """Of methods with their settings, and of the config's `sections`."""
        for name, what in NEED_TEXT.items():
            if sections.get(name) and self.kind in UNTOLD:
                why = f"{self.base} {IS[self.kind]}, which {UNTOLD[self.kind]}, {what}"
                yield Fault(name, f"{why}: remove `{name}`")
        if quantisation(self.model) == "bitsandbytes" and find_spec("bitsandbytes") is None:
            yield Fault("base", f"{self.base} is quantised: pip install 'stepladder[quantised]'")
        if self.kind == "endpoint" and self.registry.task(self.task).answering == "likelihood":
            yield Fault(
                "task",
                f"{self.task!r} is judged by the probability of the text, and {self.base} is an endpoint, "
                f"which {UNTOLD[self.kind]}: give a base that is on this machine",
            )
            return
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
        fault = method.base_fault(settings, self.model) or self._decoder_fault(settings)
        return fault or self._inner_fault(method, settings)

    def _inner_fault(self, method: type[Method], settings: BaseModel) -> str | None:
        """Why the method that this one hands on to cannot run."""
        if method.hands_on_to is None:
            return None
        name, given = name_and_settings(getattr(settings, method.hands_on_to))
        inner = self.registry.method(name)
        fault = self._method_fault(inner, inner.Settings(**given))
        return f"{method.hands_on_to}: {name}: {fault}" if fault else None

    def _decoder_fault(self, settings: BaseModel) -> str | None:
        """Why the decoder that the settings name asks too much of the base, for a task that it writes for.

        An endpoint writes closed answers too; elsewhere they are chosen by their likelihood.
        """
        named = getattr(settings, "decoder", None)
        chosen = self.kind != "endpoint" and self.registry.task(self.task).answering not in WRITTEN
        if named is None or chosen:
            return None
        name, given = name_and_settings(named)
        decoder = self.registry.decoder(name)
        able = abilities(self.kind)
        missing = [ASKS[each] for each in decoder.asks(decoder.Settings(**given)) if each not in able]
        if not missing:
            return None
        can = ", ".join(ASKS[each] for each in able) or "nothing of that kind"
        return (
            f"the decoder {name!r} with these settings asks a base to {' and to '.join(missing)}; "
            f"{self.base} {IS[self.kind]}, which is able to {can}"
        )

    def _other_kind(self, method: type[Method]) -> str:
        wanted = " or ".join(DOES[kind] for kind in method.bases if kind in DOES)
        if self.kind == "endpoint" and "none" not in method.bases:
            wanted = "the weights of its base"
        able = [
            other
            for other in self.registry.methods.values()
            if self.kind in other.bases and self.task in self.registry.tasks_of(other)
        ]
        names = ", ".join(other.name for other in sorted(able, key=lambda other: other.rung))
        return f"needs {wanted}; {self.base} {IS[self.kind]}: methods that run on it: {names or 'none'}"


def check_kinds(
    document: Document, task: str | None, drafts: Iterable[Draft], registry: Registry
) -> Iterator[Fault]:
    """Faults of methods on a base whose config.json is at hand; of others the step that plans tells them."""
    if task is None:
        return
    base = document.values.get("base", DEFAULT_BASE)
    footing = _footing(base, task, registry)
    asked = [(draft.method, draft.settings) for draft in drafts if task in registry.tasks_of(draft.method)]
    faults = footing.faults(asked, document.values) if footing else _on_any_base(base, asked)
    yield from dict.fromkeys(faults)


def _on_any_base(base: Any, asked: Iterable[tuple[type[Method], BaseModel]]) -> Iterator[Fault]:
    """What can be told of a base that is not known: that there is one."""
    for method, _ in asked:
        if method.bases == ("none",):
            yield Fault(f"methods.{method.name}", f"needs {DOES['none']}; found {base}")


def _footing(base: Any, task: str, registry: Registry) -> Footing | None:
    """None as long as the base is not known."""
    if base is None:
        return Footing("the base", "none", {}, task, registry)
    model = known_model_config(base) if isinstance(base, str) else None
    return None if model is None else Footing.on(base, model, task, registry)
