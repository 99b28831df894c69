"""A flow that this machine serves by the clock: what can be wrong with its times, and the serving."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from ..core.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from prefect.server.schemas.schedules import CronSchedule

NIGHTLY = "0 3 * * *"
# The fields of a cron line in their order, each with what it may be.
FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of the month": "1 to 31",
    "month": "1 to 12, or jan to dec",
    "day of the week": "0 to 7, or sun to sat",
}


@dataclass(frozen=True, slots=True)
class Times:
    """A cron line, and the time zone that it is meant in."""

    cron: str
    timezone: str

    def next(self, number: int) -> list[str]:
        """The next times that a server would start a run at. Raises InputError where there are none."""
        try:
            dates = asyncio.run(_schedule(self.cron, self.timezone).get_dates(number))
        except ValueError:
            raise InputError(f"--cron {self.cron!r}: no day is such a day") from None
        return [f"{date:%a %Y-%m-%d %H:%M %Z}" for date in dates]


def require_times(cron: str, timezone: str | None) -> Times:
    """Raises InputError for a time zone that is missing or unknown, and for a wrong field of `cron`."""
    if timezone is None:
        raise InputError(
            f"--timezone: expected the one in which {cron!r} is meant, as in `--timezone Europe/Berlin`; "
            "found none"
        )
    known = available_timezones()
    if timezone not in known:
        raise InputError(f"--timezone: there is no time zone {timezone!r}{did_you_mean(timezone, known)}")
    _require_fields(cron)
    return Times(cron, timezone)


def _require_fields(cron: str) -> None:
    fields = cron.split()
    if len(fields) != len(FIELDS):
        raise InputError(
            f"--cron {cron!r}: expected {len(FIELDS)} fields ({', '.join(FIELDS)}), as in {NIGHTLY!r} for "
            f"three o'clock every night; found {len(fields)}"
        )
    for place, (name, allowed) in enumerate(FIELDS.items()):
        alone = ["*"] * len(FIELDS)
        alone[place] = fields[place]
        if not _is_valid(" ".join(alone)):
            raise InputError(
                f"--cron {cron!r}: {name}: expected {allowed}, a list (1,2), a range (1-5) or */N; "
                f"found {fields[place]!r}"
            )


def _is_valid(cron: str) -> bool:
    try:
        _schedule(cron, "UTC")
    except ValueError:
        return False
    return True


def _schedule(cron: str, timezone: str) -> CronSchedule:
    """The server's own, so that what is accepted and printed here is what it will do."""
    from prefect.server.schemas.schedules import CronSchedule

    return CronSchedule(cron=cron, timezone=timezone)


@dataclass(frozen=True, slots=True)
class Serving:
    """Which flow is served under which name, when, and with which parameters."""

    flow: str
    name: str
    times: Times
    parameters: dict[str, Any]


def serve(serving: Serving) -> None:
    """Start the flow's runs on this machine until the process is stopped, which pauses the schedule.

    One run at a time: a run that would start while another one goes is cancelled, not kept for later.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    flow = _flows()[serving.flow]
    limit = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    flow.serve(
        name=serving.name,
        parameters=serving.parameters,
        schedule=Cron(serving.times.cron, timezone=serving.times.timezone),
        global_limit=limit,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _flows() -> dict[str, Any]:
    """Those that can be scheduled, by the names that the command has for them."""
    from .ladder import ladder
    from .refresh import refresh

    return {"ladder": ladder, "refresh": refresh}


def parameters(config: Path, overrides: tuple[str, ...], runs: Path) -> dict[str, Any]:
    """What both flows are given: it must hold wherever on this machine a run is started."""
    return {"config": str(config.absolute()), "overrides": list(overrides), "runs": str(runs.absolute())}
