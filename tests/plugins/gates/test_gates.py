"""Every gate on literal records, its figures worked out by hand."""

from __future__ import annotations

import math

import pytest
from stepladder.core.errors import PluginError
from stepladder.core.gate import Contestant
from stepladder.core.types import Record

from .conftest import ENTRY, right


def likelihoods(*nats):
    """Records of ten tokens each."""
    return [Record(f"row-{i}", "", "", "", negative_log_likelihood=x, tokens=10) for i, x in enumerate(nats)]


class TestBetterThanChampion:
    def test_the_paired_difference_decides_and_is_told(self, contest, judge):
        # Two rows only the challenger has right, one only the champion: (2 - 1) / 4. Bonett and Price:
        # centre 1/6, spread 5/6 - 1/36, reach 1.96 * sqrt(29/36 / 6) = 0.7182.
        met = contest(right("1110"), right("1001"))
        verdict = judge("better_than_champion", met)
        assert verdict.passed
        assert verdict.figures == {
            "challenger": 0.75,
            "champion": 0.5,
            "difference": 0.25,
            "low": pytest.approx(-0.5515, abs=1e-4),
            "high": pytest.approx(0.8848, abs=1e-4),
            "rows": 4,
            "excluded": 0,
        }
        assert verdict.reason == (
            "accuracy 0.75 against the champion's 0.5 on 4 rows: better by +0.25 "
            "(95 % interval -0.5515 to +0.8848), asked for is at least +0"
        )

    @pytest.mark.parametrize(("margin", "passed"), [(0.25, True), (0.26, False), (-0.1, True)])
    def test_a_difference_of_the_margin_is_enough(self, contest, judge, margin, passed):
        met = contest(right("1110"), right("1001"))
        assert judge("better_than_champion", met, margin=margin).passed is passed

    def test_level_is_enough_and_one_row_behind_is_not(self, contest, judge):
        assert judge("better_than_champion", contest(right("110"), right("011"))).passed
        assert not judge("better_than_champion", contest(right("100"), right("011"))).passed

    def test_only_rows_that_both_answered_count_and_the_others_are_told(self, contest, judge):
        # On the champion's last two rows it is level; on all four the challenger would be ahead.
        met = contest(right("1110"), right("10", first=2), excluded=2)
        verdict = judge("better_than_champion", met, margin=0.1)
        assert not verdict.passed
        assert (verdict.figures["difference"], verdict.figures["rows"], verdict.figures["excluded"]) == (
            0,
            2,
            2,
        )
        assert "on 2 rows (2 more, which the champion was trained on, are left out)" in verdict.reason

    def test_perplexity_is_compared_by_its_ratio_and_lower_is_better(self, contest, judge):
        met = contest(likelihoods(20.0, 20.0), likelihoods(20.3, 20.3), metrics=("perplexity",))
        verdict = judge("better_than_champion", met, margin=0.03)
        assert verdict.passed
        assert verdict.figures["difference"] == pytest.approx(0.03)
        assert "better by +3.00%" in verdict.reason
        worse = contest(likelihoods(20.3, 20.3), likelihoods(20.0, 20.0), metrics=("perplexity",))
        assert not judge("better_than_champion", worse).passed

    def test_a_margin_is_a_share_of_the_metrics_scale(self, contest, judge):
        met = contest(right("1110"), right("1001"))
        met.metrics["accuracy"].scale = 100.0
        assert not judge("better_than_champion", met, margin=0.01).passed


@pytest.mark.parametrize("gate", ["better_than_champion", "no_regression_by_slice"])
class TestGatesThatCompare:
    def test_the_first_champion_has_nobody_to_be_compared_with(self, contest, judge, gate):
        verdict = judge(gate, contest(right("0000")))
        assert (verdict.passed, verdict.reason) == (True, "there is no champion yet to compare with")

    def test_a_champion_that_cannot_be_scored_is_a_no(self, contest, judge, gate):
        verdict = judge(gate, contest(right("1111"), champion_fault="its base is gone"))
        assert not verdict.passed
        assert verdict.reason == "the champion could not be scored: its base is gone"

    def test_a_champion_that_was_trained_on_all_rows_is_a_no(self, contest, judge, gate):
        verdict = judge(gate, contest(right("1111"), [], excluded=4))
        assert not verdict.passed
        assert verdict.reason == (
            "there is no test row to compare on: the champion was trained on all 4 of them"
        )
        assert verdict.figures == {"rows": 0, "excluded": 4}


class TestMinimum:
    @pytest.mark.parametrize(("value", "passed"), [(0.8, True), (0.81, False)])
    def test_a_metric_of_which_higher_is_better(self, contest, judge, value, passed):
        verdict = judge("minimum", contest(right("1111111100")), value=value)
        assert verdict.passed is passed
        # Wilson's interval of 8 in 10.
        ends = {"low": pytest.approx(0.4902, abs=1e-4), "high": pytest.approx(0.9433, abs=1e-4)}
        assert verdict.figures == {"value": 0.8, **ends, "rows": 10}
        assert verdict.reason == (
            f"accuracy is 0.8 on 10 rows (95 % interval 0.4902 to 0.9433), asked for is at least {value}"
        )

    @pytest.mark.parametrize(("value", "passed"), [(2.8, True), (2.7, False)])
    def test_a_metric_of_which_lower_is_better(self, contest, judge, value, passed):
        met = contest(likelihoods(9.0, 11.0), metrics=("perplexity",))
        verdict = judge("minimum", met, value=value)
        assert verdict.passed is passed
        assert verdict.figures["value"] == pytest.approx(math.e)
        assert f"asked for is at most {value}" in verdict.reason

    def test_another_metric_of_the_task(self, contest, judge):
        # Of `yes` 8 hits, expected 10 times and said 8 times; `no` is never expected: F1 0.
        verdict = judge("minimum", contest(right("1111111100")), metric="macro_f1", value=0.4)
        assert verdict.passed
        assert verdict.figures["value"] == pytest.approx((2 * 8 / (10 + 8) + 0) / 2)

    def test_an_unknown_metric_gives_the_nearest_one(self, contest, judge):
        with pytest.raises(PluginError) as raised:
            judge("minimum", contest(right("1")), metric="acuracy", value=0.5)
        assert str(raised.value) == (
            "no metric 'acuracy' was computed (did you mean 'accuracy'?): expected one of accuracy, macro_f1"
        )

    def test_the_champion_is_left_alone(self, contest, judge):
        assert judge("minimum", contest(right("11"), champion_fault="gone"), value=1.0).passed


class TestLatency:
    @pytest.mark.parametrize(("most", "passed"), [(0.19, True), (0.18, False)])
    def test_so_large_a_share_of_the_rows_must_be_so_fast(self, contest, judge, most, passed):
        timed = [hundredths / 100 for hundredths in range(20, 0, -1)]
        verdict = judge("latency", contest(right("1"), timed=timed), most_seconds=most)
        assert verdict.passed is passed
        assert verdict.figures == {"seconds": 0.19, "median": 0.1, "rows": 20}
        assert verdict.reason == (
            f"95 % of 20 rows, each answered alone, took at most 0.19 s, allowed is {most} s"
        )

    def test_the_quantile_is_a_setting_and_the_champions_is_told(self, contest, judge):
        met = contest(right("1"), timed=[0.1, 0.2, 0.3, 4.0])
        object.__setattr__(met, "champion", Contestant("2", ENTRY, [], [0.5, 0.6]))
        verdict = judge("latency", met, most_seconds=0.2, quantile=0.5)
        assert verdict.passed
        assert verdict.figures == {"seconds": 0.2, "median": 0.2, "rows": 4, "champion_seconds": 0.5}

    def test_untimed_is_a_no(self, contest, judge):
        assert not judge("latency", contest(right("1")), most_seconds=9.0).passed


class TestSize:
    @pytest.mark.parametrize(("most", "passed"), [(1.5, True), (1.4, False)])
    def test_megabytes_of_the_candidates_own_files(self, contest, judge, most, passed):
        verdict = judge("size", contest(right("1")), most_megabytes=most)
        assert (verdict.passed, verdict.figures) == (passed, {"megabytes": 1.5})
        assert verdict.reason == f"its files have 1.5 MB, allowed are at most {most} MB"

    def test_unmeasured_is_a_no(self, contest, judge):
        entry = {**ENTRY, "cost": {"artifact_bytes": None}}
        assert not judge("size", contest(right("1"), entry=entry), most_megabytes=9.0).passed


class TestNoForgetting:
    @pytest.mark.parametrize(("most", "passed"), [(0.04, True), (0.03, False)])
    def test_perplexity_may_rise_by_so_much(self, contest, judge, most, passed):
        verdict = judge("no_forgetting", contest(right("1")), most=most)
        assert (verdict.passed, verdict.figures) == (passed, ENTRY["retention"])
        assert verdict.reason == (
            f"perplexity on the retain text went from 10 to 10.4, by +4.00%; allowed is at most +{most:.2%}"
        )

    def test_unmeasured_is_a_no(self, contest, judge):
        verdict = judge("no_forgetting", contest(right("1"), entry={**ENTRY, "retention": None}))
        assert not verdict.passed
        assert "name a text under `retain`" in verdict.reason


class TestManual:
    def test_nobody_has_approved(self, contest, judge):
        verdict = judge("manual", contest(right("1")))
        assert (verdict.passed, verdict.figures) == (False, {"approved": 0.0})
        assert verdict.reason == "nobody has approved it yet: stepladder approve intents --version 3"

    def test_approved(self, contest, judge):
        verdict = judge("manual", contest(right("1"), approval="Ada, 2025-01-31"))
        assert (verdict.passed, verdict.reason) == (True, "approved by Ada, 2025-01-31")


def by_channel(phone, web):
    """Records of two channels."""
    calls = right(phone, slices={"channel": "phone"})
    return [*calls, *right(web, first=len(calls), slices={"channel": "web"})]


class TestNoRegressionBySlice:
    def test_a_slice_that_is_clearly_worse_is_named(self, contest, judge):
        # Six of 20 lost: -0.3; Bonett and Price alone reach -0.0480, for two slices at once
        # -0.3 + 2.2414 / 1.96 * 0.2520 = -0.0118.
        met = contest(by_channel("0" * 6 + "1" * 14, "1" * 20), by_channel("1" * 20, "0" * 6 + "1" * 14))
        verdict = judge("no_regression_by_slice", met)
        assert not verdict.passed
        assert verdict.reason == (
            "slices worse by more than 0.05: 1 of 2: channel=phone -0.3 on 20 rows (at best -0.0118)"
        )
        assert verdict.figures == {
            "slices": 2,
            "too_small": 0,
            "worse": 1,
            "worst": -0.3,
            "worst_at_best": pytest.approx(-0.0118, abs=1e-4),
            "worst_rows": 20,
        }
        assert judge("better_than_champion", met).passed

    def test_of_two_slices_one_looks_worse_by_chance_sooner_than_the_only_one(self, contest, judge):
        # Five of 20 lost: -0.25, alone at best -0.0115, of two slices at best 0.0227.
        ours, theirs = by_channel("0" * 5 + "1" * 15, "1" * 20), by_channel("1" * 20, "1" * 20)
        verdict = judge("no_regression_by_slice", contest(ours, theirs))
        assert verdict.passed
        assert verdict.reason == (
            "clearly worse slices: none of 2; the worst is channel=phone -0.25 on 20 rows (at best +0.0227)"
        )
        alone = contest(ours[:20], theirs[:20])
        assert judge("no_regression_by_slice", alone).figures["worst_at_best"] == pytest.approx(
            -0.0115, abs=1e-4
        )
        assert not judge("no_regression_by_slice", alone).passed

    def test_the_margin(self, contest, judge):
        met = contest(by_channel("0" * 10 + "1" * 10, "1" * 20), by_channel("1" * 20, "1" * 20))
        assert not judge("no_regression_by_slice", met, margin=0.49).passed
        assert judge("no_regression_by_slice", met, margin=0.5).passed

    def test_slices_of_few_rows_are_not_judged(self, contest, judge):
        met = contest(by_channel("0" * 19, "1" * 20), by_channel("1" * 19, "1" * 20))
        verdict = judge("no_regression_by_slice", met)
        assert verdict.passed
        assert verdict.reason == (
            "clearly worse slices: none of 1; the worst is channel=web "
            "+0 on 20 rows (at best +0.126); not judged for fewer than 20 rows: 1"
        )
        assert not judge("no_regression_by_slice", met, rows=19).passed
        assert judge("no_regression_by_slice", met, rows=21).reason == (
            "no slice has 21 rows, so none of 2 was judged"
        )

    def test_the_worst_come_first_and_no_more_than_three(self, contest, judge):
        def columns(outcomes):
            parts = [
                right(outcome * 20, first=20 * place, slices={"team": f"t{place}"})
                for place, outcome in enumerate(outcomes)
            ]
            return [record for part in parts for record in part]

        ours = columns("00001")
        ours[0] = right("1", slices={"team": "t0"})[0]
        verdict = judge("no_regression_by_slice", contest(ours, columns("11111")))
        assert verdict.figures["worse"] == 4
        assert verdict.reason.startswith("slices worse by more than 0.05: 4 of 5: team=t1 -1 on 20 rows")
        assert verdict.reason.endswith(" and 1 more")

    def test_the_expected_answers_of_a_closed_set_are_slices_by_a_mean_of_rows(self, contest, judge):
        # By macro F1, which chooses, rows that all expect the same would be averaged over what was said.
        ours, theirs = right("0" * 10 + "1" * 10), right("1" * 20)
        met = contest(ours, theirs, metrics=("macro_f1", "accuracy"), labels=("no", "yes"))
        verdict = judge("no_regression_by_slice", met)
        assert verdict.figures["worst"] == -0.5
        assert "expected=yes -0.5 on 20 rows" in verdict.reason

    def test_without_slices_there_is_nothing_to_go_by(self, contest, judge):
        verdict = judge("no_regression_by_slice", contest(right("1" * 20), right("1" * 20)))
        assert not verdict.passed
        assert "name columns under `data.slices`" in verdict.reason
