"""Secrets that a config names as {prefect_secret: BLOCK}: read here, since no step knows Prefect."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..core.errors import InputError, StepError
from ..core.training.children import Children
from .prefect_home import end_server_when_killed, quiet_prefect


def lend(secrets: Mapping[str, str], children: Children) -> None:
    """Put each secret, given as variable → block, into this process's environment, which children are given.

    A variable that is set already stays. The server that Prefect starts for this, where it has none, ends
    with this process. Raises InputError where Prefect has no such secret.
    """
    for variable, block in secrets.items():
        if not os.environ.get(variable):
            os.environ[variable] = _read(block)
            end_server_when_killed(children)


def _read(name: str) -> str:
    quiet_prefect()
    from prefect.blocks.system import Secret

    try:
        block = Secret.load(name)
    except ValueError as error:
        raise InputError(
            f"endpoint.key: Prefect has no Secret block {name!r}: expected one, as its page Blocks or "
            f"`Secret(value=...).save({name!r})` makes it"
        ) from error
    except Exception as error:
        raise StepError(
            f"endpoint.key: Prefect, which has the secret {name!r}, does not answer: {type(error).__name__}: "
            f"{error}; an environment variable does without it: endpoint.key={{env: NAME}}"
        ) from error
    assert isinstance(block, Secret), "outside of coroutines it is loaded at once"
    value = block.get()
    if not isinstance(value, str) or not value.strip():
        raise InputError(
            f"endpoint.key: expected text in Prefect's Secret block {name!r}, found something else"
        )
    return value
