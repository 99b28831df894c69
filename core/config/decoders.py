"""The decoder that a candidate's settings name, and the scorer that the decoder's own settings name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..decoder import Decoder, Scorer
from ..discovery import Registry
from ..errors import InputError, PluginError, did_you_mean
from ..types import CandidateSpec
from .faults import Fault, show, validate
from .places import absolute

Named = str | Mapping[str, Mapping[str, Any]]


def name_and_settings(named: Named) -> tuple[str, Mapping[str, Any]]:
    """Of a plugin that is given by its name, or as {name: its settings}."""
    if isinstance(named, str):
        return named, {}
    ((name, settings),) = named.items()
    return name, settings or {}


def named_scorer(decoder: type[Decoder], settings: BaseModel) -> tuple[str, Mapping[str, Any]] | None:
    """The scorer that a decoder's settings name, with its own settings; None where they name none."""
    named = getattr(settings, decoder.scored_by) if decoder.scored_by else None
    return None if named is None or named in decoder.own_scores else name_and_settings(named)


@dataclass(frozen=True, slots=True)
class DecoderCheck:
    """Checks what is written under `decoder`; relative paths are relative to `folder`."""

    registry: Registry
    folder: Path

    def complete(self, place: str, value: Any) -> tuple[Any, list[Fault]]:
        """The decoder with all its settings, those of its scorer too."""
        name, given, faults = _one(place, value, "decoder")
        if faults:
            return value, faults
        try:
            decoder = self.registry.decoder(name)
        except PluginError as error:
            return value, [Fault(place, str(error))]
        settings, faults = validate(decoder.Settings, given, f"{place}.{name}")
        if settings is None:
            return value, faults
        complete = settings.model_dump(mode="json", by_alias=True)
        if decoder.scored_by and getattr(settings, decoder.scored_by) not in decoder.own_scores:
            where = f"{place}.{name}.{decoder.scored_by}"
            complete[decoder.scored_by], faults = self._scorer(where, complete[decoder.scored_by], decoder)
        return value if isinstance(value, str) else {name: complete}, faults

    def _scorer(self, place: str, value: Any, decoder: type[Decoder]) -> tuple[Any, list[Fault]]:
        name, given, faults = _one(place, value, "scorer")
        if faults:
            return value, faults
        try:
            scorer = self.registry.scorer(name)
        except PluginError as error:
            near = did_you_mean(name, decoder.own_scores)
            return value, [Fault(place, f"no scorer {name!r}{near}" if near else str(error))]
        if decoder.judges_beginnings and not scorer.judges_beginnings:
            able = [each.name for each in self.registry.scorers.values() if each.judges_beginnings]
            text = f"{name} judges whole answers only, and {decoder.name} asks of beginnings: {_either(able)}"
            return value, [Fault(place, text)]
        return self._settled(f"{place}.{name}", scorer, given)

    def _settled(self, place: str, scorer: type[Scorer], given: Any) -> tuple[Any, list[Fault]]:
        settings, faults = validate(scorer.Settings, given, place)
        if settings is None:
            return given, faults
        paths = {key: absolute(self.folder, str(value)) for key, value in settings if isinstance(value, Path)}
        try:
            kept = scorer.settled(settings.model_copy(update=paths))
        except InputError as error:
            return given, [Fault(place, str(error))]
        return {scorer.name: kept.model_dump(mode="json", by_alias=True)}, []


def check_register(
    values: Mapping[str, Any], candidates: Iterable[CandidateSpec], registry: Registry
) -> Iterator[Fault]:
    """The fault of a run that may register a candidate whose scorer runs code, which nobody would run."""
    if not values.get("register"):
        return
    for each in candidates:
        named = each.settings.get("decoder")
        name, given = name_and_settings(named) if named else ("greedy", {})
        decoder = registry.decoder(name)
        scorer = named_scorer(decoder, decoder.Settings(**given))
        if scorer and registry.scorer(scorer[0]).runs_code:
            yield Fault(
                f"methods.{each.id}.decoder",
                f"the scorer {scorer[0]!r} runs code, which a registered model never brings along: take "
                "another scorer, or remove `register`",
            )


def _one(place: str, value: Any, what: str) -> tuple[str, Any, list[Fault]]:
    """Name and settings of the one plugin that is named."""
    if isinstance(value, str):
        return value, {}, []
    if not isinstance(value, Mapping):
        return "", {}, [Fault(place, f"expected a {what}'s name or {{name: settings}}, found {show(value)}")]
    if len(value) != 1:
        return "", {}, [Fault(place, f"expected one {what}, found {', '.join(value) or 'none'}")]
    ((name, settings),) = value.items()
    return name, {} if settings is None else settings, []


def _either(names: list[str]) -> str:
    return f"scorers that do: {', '.join(names)}" if names else "no scorer that is installed does"
