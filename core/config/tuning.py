"""`tune` below a method: how many of its settings are tried, and where they are looked for.

    lora: {rank: 8, tune: {trials: 6}}                                  where the method itself would look
    lora: {tune: {trials: 8, learning_rate: [1e-4, 1e-2], rank: [4, 8, 16]}}

Two numbers for a setting that may be a fraction are the ends of a range, which is searched by its logarithm
where it spans a decade or more; any other list is the values to choose from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, get_args

from ..method import Between, Method, OneOf, SearchSpace
from .faults import Fault, show, unknown, validate

TUNE = "tune"
TRIALS = "trials"
MOST_TRIALS = 256
# A seed is luck, not a setting; decoders have settings of their own.
NEVER_TUNED = ("seed", "decoder")
DECADE = 10


def read_tune(
    value: Any, method: type[Method], settings: Any, place: str
) -> tuple[dict[str, Any] | None, list[Fault]]:
    """`{"trials", "space"}` of what stands at `place`, as JSON, all of it explicit.

    `settings` are those that it is given, None where they have faults of their own.
    """
    if method.hands_on_to:
        return None, [Fault(place, f"{method.name} hands its rows on to another method: it cannot be tuned")]
    if not isinstance(value, dict) or TRIALS not in value:
        return None, [Fault(place, f"expected {{trials: a number}}, found {show(value)}")]
    faults = list(_trials_fault(value[TRIALS], f"{place}.{TRIALS}"))
    ranges = {key: each for key, each in value.items() if key != TRIALS}
    for key, each in ranges.items():
        faults += _range_faults(key, each, method, f"{place}.{key}")
    if faults or settings is None:
        return None, faults
    fields = method.Settings.model_fields
    own = {key: _where(each, fields[key].annotation) for key, each in ranges.items()}
    space = own or method.search_space(settings)
    if not space:
        return None, [_no_space(method, place)]
    return {TRIALS: value[TRIALS], "space": space_as_json(space)}, []


def space_as_json(space: SearchSpace) -> dict[str, Any]:
    """Lists of values, and {low, high, log} for ranges."""
    return {
        name: list(where.values) if isinstance(where, OneOf) else asdict(where)
        for name, where in space.items()
    }


def space_from_json(space: Mapping[str, Any]) -> dict[str, Between | OneOf]:
    """The inverse of `space_as_json`."""
    return {
        name: OneOf(tuple(where)) if isinstance(where, list) else Between(**where)
        for name, where in space.items()
    }


def _trials_fault(trials: Any, place: str) -> Iterator[Fault]:
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= MOST_TRIALS:
        yield Fault(place, f"expected a whole number from 1 to {MOST_TRIALS}, found {show(trials)}")


def _range_faults(key: str, values: Any, method: type[Method], place: str) -> Iterator[Fault]:
    fields = method.Settings.model_fields
    if key not in fields:
        yield Fault(place, unknown("setting", key, [TRIALS, *_tunable(method)]))
    elif key in NEVER_TUNED:
        yield Fault(place, f"is never tuned; what can be: {', '.join(_tunable(method))}")
    elif not isinstance(values, list) or len(values) < 2:
        text = f"expected [low, high] of a range, or at least two values to choose from, found {show(values)}"
        yield Fault(place, text)
    else:
        for value in values:
            _, faults = validate(method.Settings, {key: value})
            yield from (replace(fault, place=place) for fault in faults)
        if isinstance(_where(values, fields[key].annotation), Between) and values[0] >= values[1]:
            yield Fault(place, f"expected the lower end first, found {show(values)}")


def _where(values: Sequence[Any], annotation: Any) -> Between | OneOf:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if len(values) == 2 and numbers and float in (annotation, *get_args(annotation)):
        low, high = float(values[0]), float(values[1])
        return Between(low, high, log=low > 0 and high >= DECADE * low)
    return OneOf(tuple(values))


def _no_space(method: type[Method], place: str) -> Fault:
    names = _tunable(method)
    example = f", such as {{trials: 8, {names[0]}: [...]}}" if names else ""
    return Fault(
        place,
        f"{method.name} says of no setting where to look for better ones: name those to be tried{example}; "
        f"it has {', '.join(names) or 'none'}",
    )


def _tunable(method: type[Method]) -> list[str]:
    return [name for name in method.Settings.model_fields if name not in NEVER_TUNED]
