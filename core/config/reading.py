"""Reading YAML as plain JSON values, safely and a little more strictly than usual.

No tag makes a Python object, a key given twice is a fault, `1e-4` is a number, and a date stays the text
that it was.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, did_you_mean
from .faults import show

# Aliases can make a short file endless.
MOST_VALUES = 100_000
TIMESTAMP, FLOAT = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float"
FLOAT_FORM = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.inf$|\.nan$")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"expected text as a key, found {show(name)}: put it in quotes",
                    key.start_mark,
                )
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} is given twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in (TIMESTAMP, FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(FLOAT, FLOAT_FORM, list("-+.0123456789"))


def read_text(path: Path) -> str:
    """The file's text. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"byte {error.start} is not UTF-8"]) from None
    except FileNotFoundError:
        raise ConfigError(str(path), [missing_file(path)]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read ({error.strerror}): expected a YAML file"]) from None


def missing_file(path: Path) -> str:
    """`no such file`, with the nearest name of that folder."""
    if not path.parent.is_dir():
        return f"no such folder: {path.parent}"
    names = [other.name for other in path.parent.iterdir()]
    return f"no such file: {path}{did_you_mean(path.name, names)}"


def parse_yaml(text: str, where: str) -> Any:
    """The value of one YAML document. Raises ConfigError with the place of the first fault."""
    try:
        return _plain(yaml.load(text, _Loader), itertools.count())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = ": ".join(filter(None, [error.context, error.problem]))
        raise ConfigError(where, [f"{at}{what}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError(where, [" ".join(str(error).split())]) from None
    except RecursionError:
        raise ConfigError(where, ["is nested too deeply"]) from None
    except ValueError as error:
        raise ConfigError(where, [str(error)]) from None


def _plain(value: Any, count: Iterator[int]) -> Any:
    """A copy in which nothing is shared. Raises ValueError for what JSON does not have."""
    if next(count) > MOST_VALUES:
        raise ValueError(f"holds more than {MOST_VALUES:,} values")
    if isinstance(value, dict):
        return {key: _plain(each, count) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, count) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected finite numbers, found {value}")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"expected plain text and numbers, found {type(value).__name__}")
