"""The run as one value: which steps there are, what each needs, and the fingerprint of each.

A fingerprint is a sha256 over the step's kind, the part of the config that decides what it leaves, and
the fingerprints of the steps it needs. Files count by content; folders, the run's name and the name it is
registered under do not count.
"""

from __future__ import annotations

import graphlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import ConfigError
from ..types import CandidateSpec

# Done after the choice, outside the store; they take no part in the run's fingerprint, and since what they
# leave may have been changed by others, each is done again and finds out itself what is there.
AFTER_THE_CHOICE = ("record", "register", "report")

# What is needed to register the chosen candidate.
TO_REGISTER = ("render", "compare", "record")

# Run although some of what they need has failed.
TOLERANT = ("compare", "record", "report")


@dataclass(frozen=True, slots=True)
class Node:
    """One step. A tolerant one runs although some of what it needs has failed; one that is not reusable is
    done anew in each run."""

    id: str
    kind: str
    title: str
    needs: tuple[str, ...]
    spec: Mapping[str, Any]
    fingerprint: str
    tolerant: bool = False
    reusable: bool = True


@dataclass(frozen=True, slots=True)
class Graph:
    """All nodes; each stands after those that it needs."""

    nodes: tuple[Node, ...]

    @property
    def fingerprint(self) -> str:
        """Of the whole run."""
        return _digest({n.id: n.fingerprint for n in self.nodes if n.kind not in AFTER_THE_CHOICE})

    @property
    def edges(self) -> set[tuple[str, str]]:
        """(needed, needing) ids."""
        return {(needed, node.id) for node in self.nodes for needed in node.needs}

    def with_run(self, run: Mapping[str, Any]) -> Graph:
        """The same graph, whose last nodes know which run they belong to."""
        nodes = (
            replace(n, spec={**n.spec, "run": dict(run)}) if n.kind in AFTER_THE_CHOICE else n
            for n in self.nodes
        )
        return Graph(tuple(nodes))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(node) for node in self.nodes]

    @classmethod
    def from_json(cls, nodes: Sequence[Mapping[str, Any]]) -> Graph:
        return cls(tuple(Node(**{**node, "needs": tuple(node["needs"])}) for node in nodes))


@dataclass(frozen=True, slots=True)
class Ingredients:
    """All that a graph is made of.

    `base` is a BaseRef as JSON, or None. `files` maps each path in the config to the sha256 of what lies
    there, `plugins` each `<kind>:<name>` to the version of its code, `versions` libraries to theirs.
    """

    config: Mapping[str, Any]
    candidates: Sequence[CandidateSpec]
    base: Mapping[str, Any] | None
    files: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def build_graph(ingredients: Ingredients) -> Graph:
    """Raises ConfigError where candidates need each other in a circle."""
    builder = _Builder(ingredients)
    builder.data()
    for candidate in _in_order(ingredients.candidates):
        builder.candidate(candidate)
    builder.end()
    return Graph(tuple(builder.nodes.values()))


def _in_order(candidates: Sequence[CandidateSpec]) -> list[CandidateSpec]:
    by_id = {candidate.id: candidate for candidate in candidates}
    before = {each.id: (*each.needs, *filter(None, [each.fitted_as])) for each in candidates}
    sorter = graphlib.TopologicalSorter(before)
    try:
        return [by_id[each] for each in sorter.static_order()]
    except graphlib.CycleError as error:
        circle = " → ".join(error.args[1])
        raise ConfigError("methods", [f"candidates need each other in a circle: {circle}"]) from error


class _Builder:
    """Adds node after node; `decides` is what a node's fingerprint is taken over, beside its needs."""

    def __init__(self, ingredients: Ingredients) -> None:
        self.given = ingredients
        self.nodes: dict[str, Node] = {}

    def data(self) -> None:
        config = self.given.config
        reads = {**self._parts("task", "data"), "plugins": self._plugins("task", "source")}
        self._add("read", (), reads)
        self._add("render", ("read",), {**self._parts("data"), "base": self._base()})
        if config.get("replay"):
            source = by_content(config["replay"]["source"], self.given.files)
            self._add("replay", ("render",), {"source": source, "base": self._base()})
        if config.get("retain"):
            self._add("retention", ("render",), {**self._parts("retain"), "base": self._base()})

    def candidate(self, candidate: CandidateSpec) -> None:
        about = {"candidate": as_json(candidate)}
        fit, merge = f"fit:{candidate.id}", f"merge:{candidate.id}"
        needed = tuple(f"fit:{each}" for each in candidate.needs)
        replay = ("replay",) if "replay" in self.nodes else ()
        taken = (f"fit:{candidate.fitted_as}",) if candidate.fitted_as else ()
        self._add(fit, ("render", *replay, *needed, *taken), self._fit(candidate), about)
        self._add(merge, (fit, *needed), {}, about)
        retention = ("retention",) if "retention" in self.nodes else ()
        decides = {**self._parts("retain"), "decoding": self._mentioned(candidate, "decoder", "scorer")}
        before = (fit, merge, *needed, "render", *retention)
        self._add(f"evaluate:{candidate.id}", before, decides, about)

    def end(self) -> None:
        about = {"candidates": [as_json(candidate) for candidate in self.given.candidates]}
        judged = tuple(node.id for node in self.nodes.values() if ":" in node.id)
        decides = {**self._parts("choose", "task"), "plugins": self._plugins("metric")}
        self._add("compare", judged, decides, about)
        fits = tuple(each for each in judged if each.startswith("fit:"))
        self._add("record", ("compare", *fits), {}, about)
        if self.given.config.get("register"):
            self._add("register", TO_REGISTER, {}, about)
        self._add("report", tuple(self.nodes), {}, about)

    def _add(
        self,
        node_id: str,
        needs: tuple[str, ...],
        decides: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        kind, _, name = node_id.partition(":")
        before = [self.nodes[each].fingerprint for each in needs]
        over = {"kind": kind, "decides": decides, "needs": before, "versions": self.given.versions}
        self.nodes[node_id] = Node(
            id=node_id,
            kind=kind,
            title=f"{kind} {name}".strip(),
            needs=needs,
            spec={"config": self.given.config, "base": self.given.base, **(about or {})},
            fingerprint=_digest(over),
            tolerant=kind in TOLERANT,
            reusable=kind not in AFTER_THE_CHOICE,
        )

    def _fit(self, candidate: CandidateSpec) -> dict[str, Any]:
        return {
            **self._parts("replay"),
            **(self._metric() if candidate.searches else {}),
            **({"tune": candidate.tune} if candidate.tune else {}),
            "method": candidate.method,
            "settings": by_content(candidate.settings, self.given.files),
            "plugin": self.given.plugins.get(f"method:{candidate.method}"),
            "others": self._mentioned(candidate, "method"),
            "base": self._base(),
        }

    def _metric(self) -> dict[str, Any]:
        """What chooses, for fits that look for the best by it."""
        name = self.given.config["choose"]["metric"]
        return {"metric": name, "judges": self.given.plugins.get(f"metric:{name}")}

    def _base(self) -> str | None:
        return self.given.base["fingerprint"] if self.given.base else None

    def _parts(self, *names: str) -> dict[str, Any]:
        return {name: by_content(self.given.config.get(name), self.given.files) for name in names}

    def _plugins(self, *kinds: str) -> dict[str, str]:
        return {key: code for key, code in self.given.plugins.items() if key.partition(":")[0] in kinds}

    def _mentioned(self, candidate: CandidateSpec, *kinds: str) -> dict[str, str]:
        """The plugins of these kinds that the candidate's settings name."""
        words = set(_words(candidate.settings))
        return {key: code for key, code in self._plugins(*kinds).items() if key.partition(":")[2] in words}


def as_json(candidate: CandidateSpec) -> dict[str, Any]:
    return {**asdict(candidate), "settings": dict(candidate.settings), "needs": list(candidate.needs)}


def _words(value: Any) -> Iterator[str]:
    """Every key and every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        yield from _words(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)


def by_content(value: Any, files: Mapping[str, str]) -> Any:
    """The same JSON with the hash of its content in place of each path."""
    if isinstance(value, str):
        return files.get(value, value)
    if isinstance(value, Mapping):
        return {key: by_content(each, files) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [by_content(each, files) for each in value]
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
