"""What torchrun tells each process that it starts: which of how many it is, and where its store listens.

The process of rank 0 does the run; the others take part in its fits (lead.py, follow.py). Knows no torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import InputError

# What a run that others follow is called in the store; in the environment of all that it starts.
LEADS = "STEPLADDER_LEADS"


@dataclass(frozen=True, slots=True)
class Torchrun:
    """One process of `of`, of which `here` are on its machine; `attempt` counts torchrun's restarts."""

    rank: int
    of: int
    here: int
    attempt: int
    address: str
    port: int


def torchrun() -> Torchrun | None:
    """None where torchrun did not start this. Raises InputError where it keeps no store to meet at."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise InputError(
            "torchrun: the processes meet at its own store, and it keeps none: expected --rdzv-backend c10d "
            "or static, and no TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
        )
    numbers = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    rank, of, here, attempt = (int(os.environ[name]) for name in numbers)
    return Torchrun(rank, of, here, attempt, os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))


def led() -> Torchrun | None:
    """Where this belongs to a run that other processes of torchrun follow."""
    return torchrun() if LEADS in os.environ else None
