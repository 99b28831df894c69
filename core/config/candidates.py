"""From drafts to candidates: an id that is a safe folder name, and the ids that each builds on."""

from __future__ import annotations

import graphlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..errors import did_you_mean
from ..types import CandidateSpec
from .drafts import Draft
from .faults import Fault

LONGEST_ID = 80
SAFE = re.compile(r"[A-Za-z0-9._-]{1,24}")


def name_candidates(drafts: Sequence[Draft]) -> tuple[list[CandidateSpec], list[Fault]]:
    """Ids: the method's name, and where it has several candidates the settings in which they differ."""
    candidates, faults = [], []
    for draft in drafts:
        peers = [other for other in drafts if other.method is draft.method]
        if next(peer for peer in peers if peer.resolved == draft.resolved) is not draft:
            name = draft.method.name
            faults.append(Fault(f"methods.{name}", "is listed twice with the same settings"))
        candidates.append(_spec(draft, peers))
    return _told_apart(candidates), list(dict.fromkeys(faults))


def _spec(draft: Draft, peers: Sequence[Draft]) -> CandidateSpec:
    name = draft.method.name
    given = dict.fromkeys(key for peer in peers for key in peer.given)
    words = [
        f"{key}{_word(draft.resolved.get(key))}"
        for key in given
        if any(peer.resolved.get(key) != draft.resolved.get(key) for peer in peers)
    ]
    candidate_id = "-".join([name, *words])
    if len(candidate_id) > LONGEST_ID:
        candidate_id = f"{name}-{_digest(draft.resolved)}"
    searches = draft.method.searches
    return CandidateSpec(candidate_id, name, draft.rung, draft.resolved, searches=searches)


def _told_apart(candidates: Sequence[CandidateSpec]) -> list[CandidateSpec]:
    """Ids that two different candidates share (`a.b` may be one word or two) get a hash of the settings."""
    ids = [candidate.id for candidate in candidates]
    return [
        replace(each, id=f"{each.id}-{_digest(each.settings)}") if ids.count(each.id) > 1 else each
        for each in candidates
    ]


def _word(value: Any) -> str:
    """A setting's value as a part of a folder's name; a hash where it is long or has other characters."""
    text = ".".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
    return text if SAFE.fullmatch(text) else _digest(value)


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
