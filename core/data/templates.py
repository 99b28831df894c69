"""Fields written by the user's Jinja templates, in a sandbox, from the columns of one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from ..errors import ConfigError, RowFault


class UnknownColumn(RowFault):
    """The row has no column of the name that the config asks for."""


class Template:
    """One template; `where` is its key in the config."""

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        try:
            self._template = _environment().from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(where, [f"line {error.lineno} of the template: {error.message}"]) from None

    def render(self, row: Mapping[str, Any]) -> str:
        """The template's text for one row. Raises RowFault; UnknownColumn where a name is no column."""
        try:
            return self._template.render(row)
        except jinja2.UndefinedError as error:
            raise UnknownColumn(f"{self.where}: {error.message}; the row has {', '.join(row)}") from None
        except RowFault as fault:
            raise RowFault(f"{self.where}: {fault}") from None
        except Exception as error:  # a template may fail in any way on a row that it does not fit
            raise RowFault(f"{self.where}: {type(error).__name__}: {error}") from None


def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(undefined=jinja2.StrictUndefined, finalize=_refuse_null)


def _refuse_null(value: Any) -> Any:
    """A null would be printed as the word None, and learned as an answer."""
    if value is None:
        raise RowFault("a column that it prints is null")
    return value
