"""From a config file to a run that can be planned: every setting has one value, and a known origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..discovery import Registry, discover
from ..errors import ConfigError
from ..types import CandidateSpec, Origin
from .candidates import add_needs, name_candidates, share_fits
from .decoders import check_register
from .document import Document, read_document
from .drafts import Draft, Drafting, read_entries
from .endpoint import check_endpoint
from .faults import Fault, validate
from .gates import check_gates
from .kinds import check_kinds
from .places import check_base, check_files, check_packages
from .schema import Config
from .secrecy import check_secrets, shown
from .task import check_family, check_task, check_templates, find_task
from .tuning import TRIALS, TUNE

# Mappings whose keys are the user's own.
LEAVES = ("columns",)


@dataclass(frozen=True)
class Resolved:
    """A config without faults. Paths are absolute, `origins` says of each dotted key where it is from.

    A candidate's settings have origins under `methods.<candidate id>.<setting>`.
    """

    config: Config
    folder: Path
    origins: Mapping[str, Origin]
    candidates: tuple[CandidateSpec, ...]


def load_config(path: Path, overrides: Sequence[str] = (), registry: Registry | None = None) -> Resolved:
    """Read, check and complete a config. `overrides` are `key=value` flags.

    Raises ConfigError with all its faults; no weights are loaded and no row is read.
    """
    registry = registry or discover()
    document = read_document(path, overrides)
    drafts, faults = _check(document, registry)
    candidates, wrong = name_candidates(drafts)
    faults += wrong
    if not faults:
        candidates, faults = add_needs(candidates, drafts)
        candidates = share_fits(candidates)
        faults += check_register(document.values, candidates, registry)
    if faults:
        raise ConfigError(str(path), dict.fromkeys(_word(document, fault) for fault in faults))
    config = _complete(document, registry)
    origins = dict(_origins(config.model_dump(mode="json"), document.values, document))
    for candidate, draft in zip(candidates, drafts, strict=True):
        origins |= _setting_origins(candidate, draft, document)
    return Resolved(config, document.folder, origins, tuple(candidates))


def _check(document: Document, registry: Registry) -> tuple[list[Draft], list[Fault]]:
    """Every part is checked whatever is wrong with the others, each fault at its place.

    But where there is a secret, that is told alone: other faults quote what they have found.
    """
    values = document.values
    if secrets := list(check_secrets(document)):
        return [], secrets
    faults = [*document.faults, *check_endpoint(document), *_check_schema(values)]
    task, wrong = find_task(values.get("task"), registry)
    faults += wrong
    if task is not None:
        faults += check_task(values, task, registry)
    faults += [*check_templates(values.get("data")), *check_files(document, registry), *check_base(document)]
    faults += [*check_packages(document), *check_gates(values, registry)[1]]
    if "methods" not in values:
        return [], faults
    entries, wrong = read_entries(values["methods"])
    faults += wrong
    name = task.name if task else None
    drafts, wrong = Drafting(registry, name, document.folder).drafts(entries)
    faults += [*wrong, *check_family(values, drafts), *_check_rows(values, drafts)]
    return drafts, [*faults, *check_kinds(document, name, drafts, registry)]


def _check_rows(values: Mapping[str, Any], drafts: Iterable[Draft]) -> Iterator[Fault]:
    """Faults of methods that need training rows in a run that is to have none."""
    data = values.get("data")
    limit = data.get("limit") if isinstance(data, dict) else None
    if not isinstance(limit, dict) or limit.get("train") != 0:
        return
    for name in dict.fromkeys(draft.method.name for draft in drafts if draft.method.needs_rows):
        yield Fault(f"methods.{name}", "needs training rows, and data.limit.train is 0")


def _check_schema(values: Mapping[str, Any]) -> list[Fault]:
    """Faults of all keys but the lists of names with settings, whose form has words of its own."""
    own: dict[str, Any] = {"methods": []} if "methods" in values else {}
    if isinstance(values.get("promote"), dict):
        own["promote"] = {**values["promote"], "gates": None}
    _, faults = validate(Config, {**values, **own})
    return faults


def _word(document: Document, fault: Fault) -> str:
    flag = document.flag_of(fault.place)
    where = f"--set {shown(flag)}: {fault.place}" if flag else fault.place
    return f"{where}: {fault.text}"


def _complete(document: Document, registry: Registry) -> Config:
    """The config of a document without faults."""
    values = dict(document.values)
    values["methods"] = [{entry.name: entry.settings} for entry in read_entries(values["methods"])[0]]
    values["choose"] = dict(values.get("choose") or {})
    if values["choose"].get("metric") is None:
        values["choose"]["metric"] = registry.task(values["task"]).chooses_by
    values["promote"] = {"gates": check_gates(values, registry)[0]}
    config, faults = validate(Config, values)
    assert isinstance(config, Config), f"checked before: {faults}"
    return config


def _origins(
    resolved: Mapping[str, Any], given: Mapping[str, Any], document: Document, prefix: str = ""
) -> Iterator[tuple[str, Origin]]:
    """Each dotted key with its origin; the methods' are told by candidate."""
    for key, value in resolved.items():
        place = f"{prefix}{key}"
        if isinstance(value, dict) and key not in LEAVES:
            yield from _origins(value, given.get(key) or {}, document, f"{place}.")
        elif place != "methods":
            yield place, document.origin(place, key in given)


def _setting_origins(candidate: CandidateSpec, draft: Draft, document: Document) -> dict[str, Origin]:
    place = f"methods.{candidate.method}"
    origins = {key: document.origin(f"{place}.{key}", key in draft.given) for key in candidate.settings}
    if candidate.tune:
        within = [f"{place}.{TUNE}.{key}" for key in (TRIALS, *candidate.tune["space"])]
        origins[TUNE] = "flag" if any(map(document.flag_of, within)) else "file"
    return {f"methods.{candidate.id}.{key}": origin for key, origin in origins.items()}
