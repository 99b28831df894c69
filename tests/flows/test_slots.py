"""A server's limit on steps that hold a model, on a real server."""

import pytest
from fakes.small import graph


@pytest.fixture
def limit(server):
    """Asks the server how many of one slot are held; the limit is there until the test ends."""
    from prefect import get_client
    from stepladder.flows.slots import LIMIT

    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, 1)

        def held():
            return client.read_global_concurrency_limit_by_name(LIMIT).active_slots

        yield held
        client.request("DELETE", "/v2/concurrency_limits/{id_or_name}", path_params={"id_or_name": LIMIT})


def test_without_the_limit_nobody_is_held_up(server):
    from stepladder.flows.slots import is_limited

    assert not is_limited()


def test_a_step_with_a_model_holds_a_slot_while_it_is_done(limit):
    from stepladder.flows.slots import is_limited, slot_for

    nodes = {node.kind: node for node in graph().nodes}
    assert is_limited()
    with slot_for(nodes["read"], limited=True):
        assert limit() == 0
    with slot_for(nodes["fit"], limited=True):
        assert limit() == 1
    assert limit() == 0
    with slot_for(nodes["fit"], limited=False):
        assert limit() == 0
