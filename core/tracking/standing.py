"""Who is champion of a registered model, and who was: what the registry says of it.

The alias `champion` is the truth that serving follows. The tag `stepladder.champions` is the history, whose
last entry is the champion; the tag `stepladder.promotion` is there while a change is under way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlflow import MlflowClient

from ..errors import StepError
from .faults import upsert
from .tags import CHAMPION, CHAMPIONS, PROMOTION
from .versions import registered_model

MOST_CHAMPIONS = 50
Action = Literal["promote", "rollback", "adopt"]


@dataclass(frozen=True, slots=True)
class Intent:
    """A change of champion under way: from version `old` to `new`, None where there is none.

    `champions` is the history once it is done, `home` says which STEPLADDER_HOME it is done from, and `at`
    is a time in UTC, renewed while it goes on.
    """

    action: Action
    old: str | None
    new: str | None
    champions: tuple[str | None, ...]
    token: str
    home: str
    at: str

    def to_json(self) -> str:
        about = {"action": self.action, "from": self.old, "to": self.new, "champions": self.champions}
        return json.dumps({**about, "token": self.token, "home": self.home, "at": self.at})

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Intent:
        old, new = values.pop("from"), values.pop("to")
        return cls(old=old, new=new, **{**values, "champions": tuple(values["champions"])})


@dataclass(frozen=True, slots=True)
class Standing:
    """Who holds the alias, who has held it (oldest first), and what is under way."""

    champion: str | None
    champions: tuple[str | None, ...] = ()
    intent: Intent | None = None

    @property
    def last(self) -> str | None:
        return self.champions[-1] if self.champions else None

    @property
    def previous(self) -> str | None:
        return self.champions[-2] if len(self.champions) > 1 else None

    def followed_by(self, version: str | None) -> tuple[str | None, ...]:
        """The history with one champion more."""
        return (*self.champions, version)[-MOST_CHAMPIONS:]

    def same_champions(self, other: Standing) -> bool:
        return (self.champion, self.champions) == (other.champion, other.champions)


def read_standing(client: MlflowClient, name: str) -> Standing:
    """Raises InputError for an unknown name, StepError where the tags are not as Stepladder writes them."""
    model = registered_model(client, name)
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    try:
        champions = tuple(json.loads(model.tags.get(CHAMPIONS, "[]")))
        intent = Intent.from_json(json.loads(model.tags[PROMOTION])) if PROMOTION in model.tags else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepError(
            f"{name}: the tags {CHAMPIONS} and {PROMOTION} of the registered model are not as Stepladder "
            f"writes them ({error!r}); delete them, and the alias {CHAMPION!r} alone will count"
        ) from error
    return Standing(aliases.get(CHAMPION), champions, intent)


def write_champions(client: MlflowClient, name: str, champions: Sequence[str | None]) -> None:
    upsert(client.set_registered_model_tag, name, CHAMPIONS, json.dumps(champions))


def write_intent(client: MlflowClient, name: str, intent: Intent) -> None:
    upsert(client.set_registered_model_tag, name, PROMOTION, intent.to_json())


def delete_intent(client: MlflowClient, name: str) -> None:
    client.delete_registered_model_tag(name, PROMOTION)
