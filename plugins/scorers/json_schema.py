"""Whether an answer is JSON that conforms to a schema: 1 if it does, 0.5 if it is other JSON, else 0.

JSON Schema, draft 2020-12 unless `$schema` says otherwise; references lead no further than the schema
itself. A beginning is completed by closing what is open: 1 where what stands there conforms as far as it
goes, 0.5 where it already does not, 0 where no JSON can come of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator, validator_for
from pydantic import Field, model_validator
from pydantic_core import from_json
from referencing import Registry

from ...core.decoder import Scorer, ScorerSettings
from ...core.errors import InputError
from ...core.hookspecs import hookimpl
from ...core.types import Example

# What is missing from a beginning may still come; these say something of what is missing.
MAY_STILL_COME = frozenset(
    {"required", "minProperties", "minItems", "contains", "dependentRequired", "dependentSchemas"}
    | {"anyOf", "oneOf", "not", "if", "const", "enum"}
)
CONTAINERS = (dict, list)


@hookimpl
def stepladder_scorers() -> Sequence[type[Scorer]]:
    return [JsonSchema]


class JsonSchema(Scorer):
    name = "json_schema"
    judges_beginnings = True

    class Settings(ScorerSettings):
        schema_: dict[str, Any] | None = Field(None, alias="schema", description="the schema itself")
        file: Path | None = Field(None, description="or a JSON file that holds it")

        @model_validator(mode="after")
        def _one_of_both(self) -> Self:
            if (self.schema_ is None) == (self.file is None):
                raise ValueError("expected either `schema` or `file`")
            return self

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        schema = settings.schema_
        self.validator = validator_for(schema, Draft202012Validator)(schema, registry=Registry())

    @classmethod
    def settled(cls, settings: Any) -> ScorerSettings:
        """With the schema that lies in the file."""
        schema = settings.schema_ if settings.file is None else read_schema(settings.file)
        try:
            validator_for(schema, Draft202012Validator).check_schema(schema)
        except SchemaError as error:
            where = "/".join(map(str, error.absolute_path)) or "its top"
            raise InputError(f"is no JSON schema: at {where}: {error.message}") from None
        return cls.Settings(seconds=settings.seconds, schema=schema)

    def score(self, example: Example, answer: str, ended: bool) -> float:
        if not ended and not answer.strip():
            return 1.0
        try:
            value = json.loads(answer, parse_constant=_refuse) if ended else completed(answer)
        except ValueError:
            return 0.0
        return 1.0 if self._conforms(value, ended) else 0.5

    def _conforms(self, value: Any, ended: bool) -> bool:
        errors = self.validator.iter_errors(value)
        if ended:
            return next(errors, None) is None
        return all(_may_still_come(error) for error in errors)


def read_schema(path: Path) -> dict[str, Any]:
    """Raises InputError for a file that holds no JSON object."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"file: {path} cannot be read as JSON: {error}") from error
    if not isinstance(schema, dict):
        raise InputError(f"file: {path} holds no JSON object: expected a schema")
    return schema


def completed(text: str) -> Any:
    """The value that a beginning of JSON comes to without what breaks off in it.

    Raises ValueError where no JSON can begin so.
    """
    try:
        value, end = json.JSONDecoder(parse_constant=_refuse).raw_decode(text.lstrip())
    except ValueError:
        return from_json(text, allow_partial=True)
    if text.lstrip()[end:].strip():
        raise ValueError("more text behind a whole value")
    return value


def _may_still_come(error: Any) -> bool:
    """Whether the fault may be gone once more is written: not that of a value that is whole."""
    return error.validator in MAY_STILL_COME and isinstance(error.instance, CONTAINERS)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
