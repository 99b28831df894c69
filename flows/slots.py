"""Slots that machines share: a Prefect server's limit on how many steps may hold a model at a time.

It counts where a server is configured on which somebody has made a limit of this name. A slot is leased, and
a lease that nobody renews ends: a killed run gives its slot back within about a minute.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from prefect import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from ..core.steps.graph import Node
from ..core.training.devices import ON_A_DEVICE
from .prefect_home import has_server

LIMIT = "stepladder-gpu"
LEASE_SECONDS = 60  # the least that Prefect allows


def is_limited() -> bool:
    """Whether the server has the limit; a temporary server, which nobody shares, is not asked."""
    if not has_server():
        return False
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            return False
    return True


def slot_for(node: Node, limited: bool) -> AbstractContextManager[None]:
    """Holds a slot while the node is done, if it holds a model and the server has the limit.

    A lease that could not be renewed, as when the server is away for a while, does not end the step.
    """
    if limited and node.kind in ON_A_DEVICE:
        return concurrency(LIMIT, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)
    return nullcontext()
