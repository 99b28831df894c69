"""The keys of a config file, their types, bounds and defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..bases import DEFAULT_BASE

# The source of a replay that is no file: what the base itself writes.
SELF = "self"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            "expected at most 100 letters, digits, '-', '_' and '.', the first a letter or a digit"
        )
    return value


Name = Annotated[str, AfterValidator(_check_name)]


class Section(BaseModel):
    """Keys that do not exist are refused, values are never changed after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limit(Section):
    """At most so many rows of each split are used."""

    train: int | None = Field(None, ge=0, description="0: only methods that need no training rows")
    validation: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)


class DataConfig(Section):
    """Where the rows are, which column is which, and what becomes of rows that do not fit."""

    train: str = Field(
        description="a file, an address that fsspec opens such as s3://bucket/rows.csv, or a data set of the "
        "hub: hub:owner/name[:config][#split], where the split is train unless given; "
        "hub:./folder is a folder in the layout of the hub"
    )
    test: str = Field(description="as train; of the hub the split test unless given")
    validation: Annotated[float, Field(gt=0, lt=1)] | str = Field(
        0.2,
        description="the share of the train rows that is held out, or as train; "
        "of the hub the split validation unless given",
    )
    columns: dict[str, str] = Field({}, description="field of the task → column of the files")
    prompt: str | None = Field(None, description="Jinja template of the task's first field")
    response: str | None = Field(None, description="Jinja template of the task's second field")
    slices: tuple[str, ...] = Field((), description="columns by whose values scores are told apart too")
    instruction: str = ""
    limit: Limit = Limit()
    max_bad: float = Field(0.1, ge=0, le=1, description="above this share of bad rows the run stops")
    near_duplicates: float | None = Field(
        None,
        ge=0.3,
        le=1,
        description="tell of test rows whose input is at least so near to that of a train row (Jaccard index "
        "of pieces of five bytes; 0.8 where they differ in a word or two); needs the extra near-duplicates",
    )
    max_length: int | None = Field(None, ge=2, description="tokens of a row; default: what the base can read")
    too_long: Literal["quarantine", "truncate"] = "quarantine"


class PrefectSecret(Section):
    """A Secret block of Prefect: who starts the run reads it, and lends it to the run's own processes."""

    prefect_secret: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the block's name")

    @property
    def variable(self) -> str:
        """The environment variable in which those processes find it."""
        return f"STEPLADDER_SECRET_{self.prefect_secret.upper().replace('-', '_')}"


class EndpointConfig(Section):
    """How a base that is a URL is asked. `key` names where the key is found, and is never the key itself."""

    key: str | PrefectSecret | None = Field(
        None,
        description="the environment variable that holds the key, as NAME or {env: NAME}, "
        "or {prefect_secret: BLOCK}",
    )
    timeout_seconds: float = Field(60, gt=0, description="a request is given up after so many seconds")
    retries: int = Field(4, ge=0, le=20, description="a request that was given up is sent so often again")
    parallel: int = Field(4, ge=1, le=64, description="requests at a time")

    @property
    def variable(self) -> str | None:
        """The environment variable that holds the key."""
        return self.key.variable if isinstance(self.key, PrefectSecret) else self.key


class RetainConfig(Section):
    """Text on which forgetting is measured."""

    text: Path


class ReplayConfig(Section):
    """Ordinary text that is trained on beside the rows, by every method that trains, against forgetting."""

    source: str = Field(
        description="a .jsonl file whose lines have a text, a file of plain text, or self: "
        "text that the base itself writes"
    )
    share: float = Field(0.1, gt=0, lt=1, description="of the tokens that each batch trains")


class ChooseConfig(Section):
    """How the winner is chosen. The limits rule out candidates that forget or cost too much."""

    metric: str | None = Field(None, description="default: the metric that the task chooses by")
    margin: float = Field(0.03, ge=0)
    max_forgetting: float | None = Field(None, ge=0)
    max_fit_seconds: float | None = Field(None, gt=0)


class CheckpointConfig(Section):
    """From what a fit that was killed goes on. Nothing of it changes what is fitted."""

    every: int | None = Field(
        None, ge=1, description="optimizer steps; default: as often as a twentieth of the time allows"
    )
    keep: int = Field(2, ge=1, description="so many of each training, the newest")


class LimitsConfig(Section):
    """What each step may use; one that wants more fails, and the others go on. It changes no result."""

    minutes: float | None = Field(None, gt=0, description="from the start of the step's process to its end")
    memory_gb: float | None = Field(
        None, gt=0, description="1e9 bytes that a process of the step may write to; on Linux alone"
    )


class PromoteConfig(Section):
    """What a version of this run must pass before it is the champion."""

    gates: tuple[dict[str, dict[str, Any]], ...] | None = Field(
        None, description="default: better_than_champion, and no_forgetting where there is a retain text"
    )


class Config(Section):
    """One run. `methods` are one-key mappings from a method to its settings, as written in the file.

    The key `register` is the attribute `register_as`: every class has a `register` of its own already.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    name: Name
    base: str | None = DEFAULT_BASE
    endpoint: EndpointConfig | None = None
    task: str
    data: DataConfig
    methods: tuple[dict[str, dict[str, Any]], ...]
    replay: ReplayConfig | None = None
    retain: RetainConfig | None = None
    choose: ChooseConfig = ChooseConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    limits: LimitsConfig = LimitsConfig()
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="so many of this machine train one candidate together; without any, so many processes",
    )
    shard: bool = Field(
        False, description="where several train all weights of a base, each holds a part of them alone"
    )
    register_as: Name | None = Field(None, alias="register")
    promote: PromoteConfig = PromoteConfig()
    data_license: str | None = Field(None, description="of the rows; kept with a registered model")
