"""A promotion as a flow of Prefect, on steps that are fakes: how it ends for caller and flow run."""

from functools import partial

import pytest
from stepladder.core.training.children import Children
from stepladder.flows.promotion import Promotion, carry_out
from stepladder.flows.watch import Silence


@pytest.fixture
def contests(monkeypatch, tmp_path):
    monkeypatch.setenv("STEPLADDER_HOME", str(tmp_path / "home"))
    children = Children(kinds="contests", preload=())
    yield children
    children.stop()


@pytest.fixture
def carry(server, contests):
    """Promote that version with Prefect; returns how it ended, and the flow run's last state."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from stepladder.flows import promote

    def carry_out_with_prefect(version, to=None):
        def walk(graph, store):
            return promote.walk(graph, store, contests, Silence(), f"promote-{version}")

        end = carry_out(Promotion("colours", version, to), walk, contests, partial(print))
        wanted = FlowRunFilter(name=FlowRunFilterName(any_=[f"promote-{version}"]))
        with get_client(sync_client=True) as client:
            (run,) = client.read_flow_runs(flow_run_filter=wanted)
        return end, run.state

    return carry_out_with_prefect


def test_all_gates_say_yes(carry):
    end, state = carry("2", to="prod.colours")
    assert end.promoted == {"name": "prod.colours", "version": "2", "previous": "1"}
    assert [gate["passed"] for gate in end.verdict["gates"]] == [True]
    assert (end.ending.exit_code, end.rejected) == (0, False)
    assert (state.type.value, state.message) == ("COMPLETED", "Version 2 of prod.colours is the champion.")


def test_a_gate_says_no(carry):
    end, state = carry("refused")
    assert (end.ending.exit_code, end.rejected, end.promoted) == (3, True, None)
    assert end.verdict["gates"][0]["reason"] == "accuracy is 0.5"
    assert end.ending.message == "colours: version refused is not promoted"
    assert (state.type.value, state.name) == ("COMPLETED", "Rejected"), "no failure of the flow"


def test_the_champion_is_promoted_again(carry):
    end, state = carry("same")
    assert (end.ending.exit_code, end.promoted) == (0, None)
    assert state.message == "The version is the champion already."


def test_the_alias_cannot_be_moved(carry):
    end, state = carry("broken")
    assert (end.ending.exit_code, end.rejected, end.promoted) == (1, False, None)
    assert (state.type.value, state.message) == ("FAILED", "RuntimeError: the alias would not move")


@pytest.mark.parametrize(("version", "ended"), [("2", "Completed"), ("refused", "Rejected")])
def test_the_flow_that_is_scheduled(server, contests, monkeypatch, version, ended):
    from stepladder.flows import promote

    monkeypatch.setattr(promote, "Children", partial(Children, kinds="contests", preload=()))
    assert promote.promote("colours", version, return_state=True).name == ended


def test_the_steps_need_what_they_are_given(contests):
    from stepladder.flows.inline import walk

    outcomes = {}

    def walk_inline(graph, store):
        outcomes.update(walk(graph, store, contests, Silence()))
        return outcomes

    assert carry_out(Promotion("colours", "2"), walk_inline, contests, print).ending.exit_code == 0
    assert list(outcomes) == ["contest", "rescore", "judge", "promote"]
    assert outcomes["rescore"].result == {"needed": ["contest"]}
