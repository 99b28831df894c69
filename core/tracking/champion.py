"""Promotion as a saga, and rollback: a kill at any point leaves the old champion or the new one.

A promotion writes its intent, notes the previous champion on the version, moves the alias, has the version
verified as it is served now, and writes the history; then it is decided, and the intent goes. What fails
before is undone at once, what is killed by whoever comes next: `reconcile` undoes a promotion that was not
decided, and finishes everything else. (Garcia-Molina and Salem, "Sagas", 1987.)
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from mlflow import MlflowClient, MlflowException

from ..errors import InputError, StepError
from .claim import alone_here, claim, is_claimed, kept_alive, now, this_home, wait_for_others
from .duplicates import settle_all
from .faults import is_missing, mlflow_answers, upsert
from .standing import Action, Intent, Standing, delete_intent, read_standing, write_champions
from .tags import APPROVED, CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, PROMOTED, VERDICT
from .versions import Version, find, has_files, set_tags

Verify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Promotion:
    """`version` of the registered model `name` is to be champion, as judged against `champion`, if any."""

    name: str
    version: str
    champion: str | None
    token: str


@dataclass(frozen=True, slots=True)
class Change:
    """Version `version` is champion now, and `previous` was it before. `moved`: it was this that did it."""

    name: str
    version: str
    previous: str | None
    moved: bool = True


def promote(client: MlflowClient, promotion: Promotion, verify: Verify) -> Change:
    """Make the version champion. `verify` loads the URI it is given, and raises if that is not sound.

    Raises StepError where the version could not be verified, and where another one has become champion
    since this one was judged; the champion stays who he is.
    """
    name, version = promotion.name, promotion.version
    with alone_here(name), mlflow_answers():
        while True:
            standing = _reconciled(client, name)
            if standing.champion == version:
                return Change(name, version, standing.previous, moved=False)
            if standing.champion != promotion.champion:
                raise StepError(_judged_against_another(promotion, standing.champion))
            intent = _intent("promote", standing, version, standing.followed_by(version))
            intent = replace(intent, token=promotion.token)
            if claim(client, name, intent, standing):
                _carry_out(client, name, intent, verify)
                return Change(name, version, standing.champion)


def rollback(client: MlflowClient, name: str) -> Change:
    """Make the champion before this one champion again. Raises InputError where there is none.

    Where a rollback was killed, that one is finished, and does not count twice.
    """
    with alone_here(name), mlflow_answers():
        half_done = wait_for_others(client, name).intent
        while True:
            standing = _reconciled(client, name)
            if half_done and half_done.action == "rollback" and half_done.new == standing.champion:
                return Change(name, str(half_done.new), half_done.old)
            champions = _earlier_champions(client, name, standing)
            intent = _intent("rollback", standing, champions[-1], champions)
            if claim(client, name, intent, standing):
                _finish(client, name, standing, intent)
                return Change(name, str(champions[-1]), standing.champion)


def reconcile(client: MlflowClient, name: str) -> Standing:
    """Put right what killed processes have left half-done, and take note of an alias moved by hand."""
    with alone_here(name), mlflow_answers():
        settle_all(client, name)
        return _reconciled(client, name)


def history(client: MlflowClient, name: str) -> list[str]:
    """The versions that have been champion, oldest first; the last one is it now, if any is."""
    with mlflow_answers():
        return [version for version in read_standing(client, name).champions if version is not None]


def approve(client: MlflowClient, name: str, version: str | None, by: str) -> Version:
    """Note who approves of the version, or of the challenger; the gate `manual` asks for it."""
    found = find(client, f"{name}/{version}" if version else f"{name}@{CHALLENGER}")
    set_tags(client, found, {APPROVED: json.dumps({"by": by, "at": now()})})
    return found


def approval(version: Version) -> str:
    """Who has approved of the version; empty if nobody has."""
    told = version.tags.get(APPROVED)
    return str(json.loads(told)["by"]) if told else ""


def _reconciled(client: MlflowClient, name: str) -> Standing:
    """The standing, with nothing under way and the alias at the last of the history."""
    while True:
        standing = wait_for_others(client, name)
        if standing.intent:
            intent = replace(standing.intent, token=secrets.token_hex(8), home=this_home(), at=now())
        elif standing.champion != standing.last:
            intent = _intent("adopt", standing, standing.champion, standing.followed_by(standing.champion))
        else:
            return standing
        if claim(client, name, intent, standing):
            _resolve(client, name, standing, intent)


def _intent(action: Action, standing: Standing, new: str | None, champions: tuple[str | None, ...]) -> Intent:
    return Intent(action, standing.champion, new, champions, secrets.token_hex(8), this_home(), now())


def _carry_out(client: MlflowClient, name: str, intent: Intent, verify: Verify) -> None:
    try:
        _move(client, name, intent, verify)
    except Exception as error:
        champion = _put_right(client, name, intent, error)
        if champion != intent.new:
            who = f"version {champion} is champion still" if champion else "there is no champion, as before"
            raise StepError(f"{name}: version {intent.new} was not promoted; {who}: {error}") from error
    except BaseException as error:
        _put_right(client, name, intent, error)
        raise


def _move(client: MlflowClient, name: str, intent: Intent, verify: Verify) -> None:
    assert intent.new is not None, "a promotion is of a version"
    upsert(client.set_model_version_tag, name, intent.new, PREVIOUS_CHAMPION, intent.old or "")
    upsert(client.set_registered_model_alias, name, CHAMPION, intent.new)
    with kept_alive(client, name, intent):
        verify(f"models:/{name}@{CHAMPION}")
    if not is_claimed(client, name, intent):
        raise StepError("another machine has taken this promotion for dead and undone it")
    _conclude(client, name, intent)


def _put_right(client: MlflowClient, name: str, intent: Intent, error: BaseException) -> str | None:
    """Finish or undo the change; returns who is champion then."""
    try:
        standing = read_standing(client, name)
        if standing.intent and standing.intent.token == intent.token:
            _resolve(client, name, standing, intent)
        return read_standing(client, name).champion
    except (MlflowException, StepError) as another:
        raise StepError(
            f"{name}: the promotion of version {intent.new} failed ({error}), and could not be undone "
            f"({another}); the next `stepladder promote` or `stepladder rollback` of {name} will do that"
        ) from error


def _resolve(client: MlflowClient, name: str, standing: Standing, intent: Intent) -> None:
    """Undo a promotion that was not decided; finish everything else."""
    if intent.action == "promote" and standing.champions != intent.champions:
        _undo(client, name, standing, intent)
    else:
        _finish(client, name, standing, intent)


def _undo(client: MlflowClient, name: str, standing: Standing, intent: Intent) -> None:
    if standing.champion == intent.new:
        _point(client, name, intent.old)
    if intent.new and _is_there(client, name, intent.new):
        client.delete_model_version_tag(name, intent.new, PREVIOUS_CHAMPION)
    delete_intent(client, name)


def _finish(client: MlflowClient, name: str, standing: Standing, intent: Intent) -> None:
    if intent.action == "rollback" and standing.champion == intent.old:
        _point(client, name, intent.new)
    _conclude(client, name, intent)


def _conclude(client: MlflowClient, name: str, intent: Intent) -> None:
    """From the first of these writes on the change is decided."""
    write_champions(client, name, intent.champions)
    if intent.action == "promote" and intent.new and _is_there(client, name, intent.new):
        upsert(client.set_model_version_tag, name, intent.new, VERDICT, PROMOTED)
    delete_intent(client, name)


def _point(client: MlflowClient, name: str, version: str | None) -> None:
    """Let the alias point at the version, or at nothing if that is gone."""
    if version and _is_there(client, name, version):
        upsert(client.set_registered_model_alias, name, CHAMPION, version)
    else:
        client.delete_registered_model_alias(name, CHAMPION)


def _earlier_champions(client: MlflowClient, name: str, standing: Standing) -> tuple[str | None, ...]:
    """The history up to the champion before this one; versions that are gone are passed over."""
    champions = standing.champions
    for end in range(len(champions) - 1, 0, -1):
        version = champions[end - 1]
        if version not in (None, standing.champion) and _can_serve(client, name, str(version)):
            return champions[:end]
    who = f"version {standing.champion} is the only one" if standing.champion else "no version is champion"
    raise InputError(
        f"{name} cannot be rolled back: {who}, and no earlier champion is there; "
        f"`stepladder promote {name} --version N` makes another version champion"
    )


def _can_serve(client: MlflowClient, name: str, version: str) -> bool:
    return _is_there(client, name, version) and has_files(Version(name, version, ""))


def _is_there(client: MlflowClient, name: str, version: str) -> bool:
    try:
        client.get_model_version(name, version)
    except MlflowException as error:
        if not is_missing(error):
            raise
        return False
    return True


def _judged_against_another(promotion: Promotion, champion: str | None) -> str:
    judged = f"version {promotion.champion}" if promotion.champion else "no champion"
    since = f"version {champion} is champion" if champion else "there is no champion"
    return (
        f"{promotion.name}: version {promotion.version} was judged against {judged}, but by now {since}; "
        f"`stepladder promote {promotion.name} --version {promotion.version}` judges it anew"
    )
