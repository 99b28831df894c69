"""What happens to the versions of a model as events of Prefect, by which automations start.

    stepladder.registered | stepladder.promoted | stepladder.rejected | stepladder.rolled_back

The resource is `stepladder.model.<NAME>`, the version is a related one. They are sent only where a Prefect
server is configured, for in the temporary one nobody listens; then by one request, whichever engine walked
the graph. An event that cannot be sent is a line on the log: what it tells of has happened all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from .prefect_home import has_server

if TYPE_CHECKING:
    from prefect.events import Event

    from ..core.steps.execute import Outcome

Log = Callable[[str], None]
Happened = Literal["registered", "promoted", "rejected", "rolled_back"]
SECONDS = 5.0


def announce_registered(outcomes: Mapping[str, Outcome], log: Log) -> None:
    """Send `stepladder.registered` if the run with these outcomes has made a version, not found one."""
    registered = outcomes["register"].result if "register" in outcomes else None
    if registered and registered["created"]:
        announce("registered", registered["registered"], log)


def announce(happened: Happened, told: Mapping[str, Any], log: Log) -> None:
    """Send `stepladder.<happened>` with the payload `told`, of which `name` and `version` say of what."""
    try:
        if has_server():
            _send(_event(f"stepladder.{happened}", told))
    except Exception as error:
        log(f"the event stepladder.{happened} did not reach Prefect: {type(error).__name__}: {error}")


def _event(event: str, told: Mapping[str, Any]) -> Event:
    from datetime import UTC, datetime

    from prefect.events import Event, RelatedResource, Resource

    name, version = told["name"], told["version"]
    resource = {"prefect.resource.id": f"stepladder.model.{name}", "prefect.resource.name": name}
    related = {
        "prefect.resource.id": f"stepladder.model-version.{name}.{version}",
        "prefect.resource.name": f"{name} {version}",
        "prefect.resource.role": "model-version",
    }
    return Event(
        occurred=datetime.now(UTC),
        event=event,
        resource=Resource(resource),
        related=[RelatedResource(related)],
        payload=dict(told),
    )


def _send(event: Event) -> None:
    from prefect import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),  # else it tries for a minute
        get_client(httpx_settings={"timeout": SECONDS}, sync_client=True) as client,
    ):
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
