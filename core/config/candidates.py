"""From drafts to candidates: an id that is a safe folder name, and the ids that each builds on."""

from __future__ import annotations

import graphlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import did_you_mean
from ..types import CandidateSpec
from .drafts import Draft
from .faults import Fault
from .tuning import TUNE

LONGEST_ID = 80
# Settings that say how answers are written, which no fit but one that searches depends on.
WRITING = ("decoder", "max_new_tokens")
SAFE, SAFE_PLUGIN = (re.compile(rf"[A-Za-z0-9._-]{{1,{longest}}}") for longest in (24, 48))


def name_candidates(drafts: Sequence[Draft]) -> tuple[list[CandidateSpec], list[Fault]]:
    """Ids: the method's name, and where it has several candidates the settings in which they differ."""
    candidates, faults = [], []
    for draft in drafts:
        peers = [other for other in drafts if other.method is draft.method]
        if next(peer for peer in peers if _same(peer, draft)) is not draft:
            name = draft.method.name
            faults.append(Fault(f"methods.{name}", "is listed twice with the same settings"))
        candidates.append(_spec(draft, peers))
    return _told_apart(candidates), list(dict.fromkeys(faults))


def share_fits(candidates: Sequence[CandidateSpec]) -> list[CandidateSpec]:
    """Of candidates that differ in how they write alone, the first is fitted for all of them.

    Not where the fit itself writes, to find out what is best.
    """
    first: dict[str, str] = {}
    return [
        each
        if each.searches
        else replace(each, fitted_as=_other(first.setdefault(_fit_of(each), each.id), each))
        for each in candidates
    ]


def _fit_of(candidate: CandidateSpec) -> str:
    settings = {key: value for key, value in candidate.settings.items() if key not in WRITING}
    return _digest([candidate.method, settings, list(candidate.needs)])


def _other(name: str, candidate: CandidateSpec) -> str:
    return "" if name == candidate.id else name


def _spec(draft: Draft, peers: Sequence[Draft]) -> CandidateSpec:
    name = draft.method.name
    given = dict.fromkeys(key for peer in peers for key in peer.given)
    words = [
        f"{key}{_word(draft.resolved.get(key), [peer.resolved.get(key) for peer in peers])}"
        for key in given
        if any(peer.resolved.get(key) != draft.resolved.get(key) for peer in peers)
    ]
    if draft.tune and any(peer.tune != draft.tune for peer in peers):
        words.append(f"tune{draft.tune['trials']}")
    candidate_id = "-".join([name, *words])
    if len(candidate_id) > LONGEST_ID:
        candidate_id = f"{name}-{_digest(draft.resolved)}"
    return CandidateSpec(
        id=candidate_id,
        method=name,
        rung=draft.rung,
        settings=draft.resolved,
        searches=draft.method.searches or draft.tune is not None,
        tune=draft.tune,
    )


def _same(one: Draft, other: Draft) -> bool:
    return (one.resolved, one.tune) == (other.resolved, other.tune)


def _told_apart(candidates: Sequence[CandidateSpec]) -> list[CandidateSpec]:
    """Ids that two different candidates share (`a.b` may be one word or two) get a hash of the settings."""
    ids = [candidate.id for candidate in candidates]
    return [
        replace(each, id=f"{each.id}-{_digest(_decisive(each))}") if ids.count(each.id) > 1 else each
        for each in candidates
    ]


def _decisive(candidate: CandidateSpec) -> Any:
    return {**candidate.settings, TUNE: candidate.tune} if candidate.tune else candidate.settings


def _word(value: Any, others: Sequence[Any]) -> str:
    """A setting's value as a part of a folder's name; a hash where it is long or has other characters.

    `others` are the values that it has to be told apart from.
    """
    if isinstance(value, dict) and len(value) == 1:
        text = _plugin_word(value, others)
        return text if SAFE_PLUGIN.fullmatch(text) else _digest(value)
    text = ".".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
    return text if SAFE.fullmatch(text) else _digest(value)


def _plugin_word(value: Mapping[str, Any], others: Sequence[Any]) -> str:
    """Of {name: settings}: the name, and the settings in which it differs from others of that name."""
    ((name, settings),) = value.items()
    alike = [other[name] for other in others if isinstance(other, dict) and list(other) == [name]]
    if not isinstance(settings, dict):
        return _scalar(name)
    differing = [key for key in settings if any(other.get(key) != settings[key] for other in alike)]
    values = {key: [other.get(key) for other in alike] for key in differing}
    return ".".join([name, *(f"{key}{_word(settings[key], values[key])}" for key in differing)])


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def add_needs(
    candidates: Sequence[CandidateSpec], drafts: Sequence[Draft]
) -> tuple[list[CandidateSpec], list[Fault]]:
    """The candidates with the ids that they build on; unknown ids and circles are faults."""
    ids = [candidate.id for candidate in candidates]
    needing: list[CandidateSpec] = []
    faults: list[Fault] = []
    for candidate, draft in zip(candidates, drafts, strict=True):
        try:
            needs = tuple(draft.method.needs(draft.settings))
        except Exception as error:  # a plugin's own code
            text = f"its plugin cannot say what it needs: {type(error).__name__}: {error}"
            faults.append(Fault(f"methods.{candidate.id}", text))
            continue
        needing.append(replace(candidate, needs=needs))
        faults += _unknown_needs(needing[-1], ids)
    faults = faults or list(_circle(needing))
    return (needing if faults else _with_rungs(needing)), faults


def _with_rungs(candidates: Sequence[CandidateSpec]) -> list[CandidateSpec]:
    """A candidate stands no lower on the ladder than those that it builds on."""
    rungs = {candidate.id: candidate.rung for candidate in candidates}
    needs = {candidate.id: candidate.needs for candidate in candidates}
    for each in graphlib.TopologicalSorter(needs).static_order():
        rungs[each] = max([rungs[each], *(rungs[need] for need in needs[each])])
    return [replace(candidate, rung=rungs[candidate.id]) for candidate in candidates]


def _unknown_needs(candidate: CandidateSpec, ids: Sequence[str]) -> Iterator[Fault]:
    for need in candidate.needs:
        if need not in ids:
            others = ", ".join(each for each in ids if each != candidate.id) or "none"
            text = f"needs the candidate {need!r}{did_you_mean(str(need), ids)}; the others are {others}"
            yield Fault(f"methods.{candidate.id}", text)


def _circle(candidates: Sequence[CandidateSpec]) -> Iterator[Fault]:
    sorter = graphlib.TopologicalSorter({candidate.id: candidate.needs for candidate in candidates})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        yield Fault("methods", f"candidates need each other in a circle: {' → '.join(error.args[1])}")
