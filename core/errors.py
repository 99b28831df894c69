"""Every error that Stepladder raises on purpose.

StepladderError
├── InputError            the user's input is wrong: exit code 2
│   ├── ConfigError       the YAML file, a flag, or what they name (carries all faults at once)
│   ├── DataError         the rows
│   ├── ModelError        the base model or an adapter
│   └── PluginError       a plugin asked for by name
├── StepError             a step failed for another reason: exit code 1
│   ├── DiskFull          nothing more can be written, whatever is tried
│   └── OutOfMemory       the smallest part of the work needs more memory than there is
└── GateError             a gate said no: exit code 3

RowFault is no failure: it marks one row as quarantined, with the reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StepladderError(Exception):
    """Base of all; the message is written for the user."""

    exit_code = 1


class InputError(StepladderError):
    """The user's input is wrong; the message says where, what was expected, what was found, what to do."""

    exit_code = 2


class ConfigError(InputError):
    """One or more faults of a config, all found before anything ran."""

    def __init__(self, where: str, faults: Iterable[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(f"{where}: {len(self.faults)} {noun}\n{lines}")


class DataError(InputError):
    """The rows cannot be used."""


class ModelError(InputError):
    """The base model or an adapter cannot be used."""


class PluginError(InputError):
    """A plugin that was asked for by name cannot be used."""


class StepError(StepladderError):
    """A step failed for a reason that is not the user's input."""


class DiskFull(StepError):
    """There is no room for what a step writes: the run ends, since every other step would fail too."""


class OutOfMemory(StepError):
    """The smallest part of the work needs more memory than there is."""


class GateError(StepladderError):
    """A gate refused a promotion."""

    exit_code = 3


class RowFault(Exception):
    """This row is quarantined; the message is the reason that its quarantine line gives."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest valid name, or an empty string when none is near."""
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
