"""Promotion and rollback on a real registry; at each of their writes the process is killed once."""

import json
import signal

import pytest
from stepladder.core.errors import InputError, ModelError, StepError

NAME = "support"


@pytest.fixture
def champions(client):
    """Who is champion, who was, and what is under way, as MLflow has it."""

    def read():
        model = client.get_registered_model(NAME)
        alias = model.aliases.get("champion")
        past = json.loads(model.tags.get("stepladder.champions", "[]"))
        return (str(alias) if alias else None, past, model.tags.get("stepladder.promotion"))

    return read


@pytest.fixture
def previous_of(client):
    def read(version):
        return client.get_model_version(NAME, version).tags.get("stepladder.previous_champion")

    return read


def test_the_first_champion_and_the_next(make_version, promote, champions, previous_of):
    make_version("f1"), make_version("f2")
    first, second = promote("1"), promote("2", after="1")
    assert (first.version, first.previous, first.moved) == ("1", None, True)
    assert (second.version, second.previous, second.moved) == ("2", "1", True)
    assert champions() == ("2", ["1", "2"], None)
    assert (previous_of("1"), previous_of("2")) == ("", "1")


def test_what_is_verified_is_the_alias(make_version, promote, champions):
    make_version("f1")
    seen = []
    promote("1", verify=lambda uri: seen.append((uri, champions()[0])))
    assert seen == [(f"models:/{NAME}@champion", "1")]


def test_promoting_the_champion_again_changes_nothing(make_version, promote, champions):
    make_version("f1"), make_version("f2")
    promote("1"), promote("2", after="1")
    again = promote("2", after="1", verify=lambda uri: pytest.fail("nothing is moved"))
    assert (again.version, again.previous, again.moved) == ("2", "1", False)
    assert champions() == ("2", ["1", "2"], None)


def test_a_verdict_against_an_earlier_champion_does_not_count(make_version, promote, champions):
    make_version("f1"), make_version("f2"), make_version("f3")
    promote("1"), promote("2", after="1")
    with pytest.raises(StepError, match=r"version 3 was judged against version 1, but by now version 2 is"):
        promote("3", after="1")
    assert champions() == ("2", ["1", "2"], None)


@pytest.mark.parametrize("before", [None, "1"])
def test_a_version_that_cannot_be_verified_gives_way(make_version, promote, champions, previous_of, before):
    make_version("f1"), make_version("f2")
    if before:
        promote("1")

    def refuse(uri):
        raise ModelError("the recorded answers are others now")

    who = "version 1 is champion still" if before else "there is no champion, as before"
    with pytest.raises(StepError, match=f"version 2 was not promoted; {who}: the recorded answers"):
        promote("2", after=before, verify=refuse)
    assert champions() == (before, [before] if before else [], None)
    assert previous_of("2") is None


def test_an_interrupted_verification_gives_way_too(make_version, promote, champions):
    make_version("f1"), make_version("f2")
    promote("1")

    def interrupt(uri):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        promote("2", after="1", verify=interrupt)
    assert champions() == ("1", ["1"], None)


def test_rollback_goes_back_until_there_is_none(client, make_version, promote, champions):
    from stepladder.core.tracking.champion import history, rollback

    for number in "123":
        make_version(f"f{number}")
        promote(number, after=str(int(number) - 1) if number > "1" else None)
    assert history(client, NAME) == ["1", "2", "3"]
    back = rollback(client, NAME)
    assert (back.version, back.previous) == ("2", "3")
    assert rollback(client, NAME).version == "1"
    assert champions() == ("1", ["1"], None)
    with pytest.raises(InputError, match="version 1 is the only one, and no earlier champion is there"):
        rollback(client, NAME)
    assert champions() == ("1", ["1"], None)


def test_rollback_passes_over_champions_that_are_gone(client, make_version, promote, champions, package):
    from stepladder.core.tracking.champion import rollback

    make_version("f1"), make_version("f2"), make_version("f3", source=package.parent / "nowhere")
    make_version("f4")
    for number, after in ("1", None), ("2", "1"), ("3", "2"), ("4", "3"):
        promote(number, after=after)
    client.delete_model_version(NAME, "2")
    assert rollback(client, NAME).version == "1"
    assert champions() == ("1", ["1"], None)


def test_an_alias_moved_or_taken_away_by_hand_becomes_history(client, make_version, promote, champions):
    from stepladder.core.tracking.champion import reconcile, rollback

    make_version("f1"), make_version("f2")
    promote("1")
    client.set_registered_model_alias(NAME, "champion", "2")
    assert reconcile(client, NAME).champion == "2"
    assert champions() == ("2", ["1", "2"], None)
    client.delete_registered_model_alias(NAME, "champion")
    assert reconcile(client, NAME).champion is None
    assert champions() == (None, ["1", "2", None], None)
    assert rollback(client, NAME).version == "2"
    assert champions() == ("2", ["1", "2"], None)


def test_the_history_keeps_the_newest_fifty(client, make_version, promote, champions):
    make_version("f1"), make_version("f2")
    client.set_registered_model_alias(NAME, "champion", "1")
    past = ["1"] * 60
    client.set_registered_model_tag(NAME, "stepladder.champions", json.dumps(past))
    promote("2", after="1")
    assert champions() == ("2", [*past[:49], "2"], None)


def test_tags_that_are_not_ours_are_told_of(client, make_version):
    from stepladder.core.tracking.champion import reconcile

    make_version("f1")
    client.set_registered_model_tag(NAME, "stepladder.promotion", "half a")
    with pytest.raises(StepError, match="delete them, and the alias 'champion' alone will count"):
        reconcile(client, NAME)


def test_an_intent_from_elsewhere_counts_once_it_is_no_longer_renewed(
    client, make_version, champions, monkeypatch
):
    from stepladder.core.tracking import claim, standing
    from stepladder.core.tracking.champion import reconcile

    make_version("f1")
    intent = standing.Intent(
        "promote", None, "1", ("1",), "token", "another home", "2026-01-01T00:00:00+00:00"
    )
    standing.write_intent(client, NAME, intent)
    client.set_registered_model_alias(NAME, "champion", "1")
    monkeypatch.setattr(claim, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(claim, "LEASE_SECONDS", 4.0)
    with claim.kept_alive(client, NAME, intent), pytest.raises(Enough):
        _reconcile_for(6.0, client)
    assert champions()[0] == "1"
    assert reconcile(client, NAME).champion is None
    assert champions() == (None, [], None)


class Enough(BaseException):
    """Nothing on the way takes it for an error of its own, as it might an OSError."""


def _reconcile_for(seconds, client):
    """Interrupt reconcile after that time."""
    from stepladder.core.tracking.champion import reconcile

    def interrupt(number, frame):
        raise Enough

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        reconcile(client, NAME)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_somebody_approves_of_a_version(client, make_version):
    from stepladder.core.tracking.champion import approval, approve
    from stepladder.core.tracking.versions import find

    make_version("f1"), make_version("f2")
    client.set_registered_model_alias(NAME, "challenger", "2")
    assert approve(client, NAME, None, "ada").version == "2"
    assert approve(client, NAME, "1", "grace").version == "1"
    assert [approval(find(client, f"{NAME}/{number}")) for number in "12"] == ["grace", "ada"]
    with pytest.raises(InputError, match="has no version 3: there is 1, 2"):
        approve(client, NAME, "3", "ada")


PROMOTION_WRITES = ("intent", "previous champion", "alias", "history", "verdict", "no intent")
ROLLBACK_WRITES = ("intent", "alias", "history", "no intent")
KILLS = [
    *(("promote", number, when) for number in range(1, 7) for when in ("before", "after")),
    *(("rollback", number, when) for number in range(1, 5) for when in ("before", "after")),
]


def test_the_kills_below_are_all_there_are(change, make_version, promote, home):
    for number in "123":
        make_version(f"f{number}")
    promote("1")
    spec = {"what": "promote", "name": NAME, "version": "2", "champion": "1", "home": str(home)}
    assert change(spec).result["writes"] == len(PROMOTION_WRITES)
    spec = {"what": "rollback", "name": NAME, "home": str(home)}
    assert change(spec).result["writes"] == len(ROLLBACK_WRITES)


@pytest.mark.parametrize(("what", "number", "when"), KILLS)
def test_a_kill_leaves_the_old_champion_or_the_new_one(
    change, client, make_version, promote, champions, home, what, number, when
):
    from stepladder.core.tracking.champion import reconcile

    for each in "123":
        make_version(f"f{each}")
    promote("1")
    if what == "rollback":
        promote("2", after="1")
    old, new = ("1", "2") if what == "promote" else ("2", "1")
    histories = {"1": ["1"], "2": ["1", "2"]}
    spec = {"what": what, "name": NAME, "version": "2", "champion": "1", "home": str(home)}
    ended = change(spec, [number, when])
    assert "killed by SIGKILL" in ended.failure.message
    assert champions()[0] in (old, new)
    champion = reconcile(client, NAME).champion
    assert champions() == (champion, histories[champion], None)
    if what == "promote":
        verdict = client.get_model_version(NAME, "2").tags.get("stepladder.verdict")
        assert (verdict == "promoted") == (champion == new)
    decided = number > 4 or (number, when) == (4, "after")  # by the history of a promotion
    if (number, when) == (1, "before"):
        assert champion == old
    elif what == "rollback" or decided:
        assert champion == new
    else:
        assert champion == old
    promote("3", after=champion)
    assert champions() == ("3", [*histories[champion], "3"], None)


@pytest.mark.parametrize(
    ("number", "when"), [(number, when) for what, number, when in KILLS if what == "rollback"]
)
def test_a_killed_rollback_that_is_asked_for_again_goes_back_once(
    change, client, make_version, promote, champions, home, number, when
):
    from stepladder.core.tracking.champion import rollback

    for version, after in ("1", None), ("2", "1"), ("3", "2"):
        make_version(f"f{version}")
        promote(version, after=after)
    assert change({"what": "rollback", "name": NAME, "home": str(home)}, (number, when)).failure is not None
    done_before = (number, when) == (4, "after")  # what is done cannot be told from what was never begun
    back = rollback(client, NAME)
    assert (back.version, back.previous) == (("1", "2") if done_before else ("2", "3"))
    assert champions() == (back.version, ["1"] if done_before else ["1", "2"], None)


def test_a_kill_of_the_first_promotion_leaves_no_champion(
    change, client, make_version, champions, previous_of, home
):
    from stepladder.core.tracking.champion import reconcile

    make_version("f1")
    spec = {"what": "promote", "name": NAME, "version": "1", "champion": None, "home": str(home)}
    ended = change(spec, [3, "after"])
    assert ended.failure is not None
    assert champions()[0] == "1"
    assert reconcile(client, NAME).champion is None
    assert champions() == (None, [], None)
    assert previous_of("1") is None


@pytest.mark.parametrize("number", [3, 4])
def test_versions_deleted_meanwhile_do_not_stand_in_the_way(
    change, client, make_version, promote, champions, home, number
):
    """Killed before and after it is decided; then both are deleted by hand, and with them the alias."""
    from stepladder.core.tracking.champion import reconcile

    make_version("f1"), make_version("f2")
    promote("1")
    spec = {"what": "promote", "name": NAME, "version": "2", "champion": "1", "home": str(home)}
    assert change(spec, (number, "after")).failure is not None
    client.delete_model_version(NAME, "1"), client.delete_model_version(NAME, "2")
    assert reconcile(client, NAME).champion is None
    assert champions() == (None, ["1", None] if number == 3 else ["1", "2", None], None)


@pytest.mark.parametrize("kill", [(6, "before"), (6, "after"), (7, "before"), (8, "before")])
def test_a_kill_in_the_middle_of_giving_way(change, client, make_version, promote, champions, home, kill):
    """Written by then: 1 the new intent, 2 the previous champion, 3 the alias; 4 to 6 undo these."""
    from stepladder.core.tracking.champion import reconcile

    make_version("f1"), make_version("f2")
    promote("1")
    spec = {
        "what": "promote",
        "name": NAME,
        "version": "2",
        "champion": "1",
        "home": str(home),
        "broken": True,
    }
    ended = change(spec, kill)
    assert ended.failure is not None
    assert reconcile(client, NAME).champion == "1"
    assert champions() == ("1", ["1"], None)


@pytest.mark.parametrize("number", range(1, 5))
def test_a_kill_in_the_middle_of_a_reconcile(
    change, make_version, promote, champions, previous_of, home, number
):
    """It writes 1 its own intent in place of the dead one, and then as giving way does."""
    make_version("f1"), make_version("f2")
    promote("1")
    spec = {"what": "promote", "name": NAME, "version": "2", "champion": "1", "home": str(home)}
    assert change(spec, (3, "after")).failure is not None
    assert change({**spec, "what": "reconcile"}, (number, "after")).failure is not None
    assert change({**spec, "what": "reconcile"}).result["champion"] == "1"
    assert champions() == ("1", ["1"], None)
    assert previous_of("2") is None


@pytest.mark.parametrize("homes", [1, 8])
def test_eight_that_promote_the_same_version_make_one_champion(at_once, make_version, champions, homes):
    make_version("f1")
    spec = {"what": "promote", "name": NAME, "version": "1", "champion": None}
    ended = at_once([spec] * 8, homes)
    assert [each.failure for each in ended] == [None] * 8
    assert sorted(each.result["moved"] for each in ended) == [False] * 7 + [True]
    assert champions() == ("1", ["1"], None)


@pytest.mark.parametrize("homes", [1, 8])
def test_of_eight_that_promote_their_own_version_one_wins(at_once, make_version, champions, homes):
    for number in range(8):
        make_version(f"f{number}")
    spec = {"what": "promote", "name": NAME, "champion": None}
    ended = at_once([{**spec, "version": str(number)} for number in range(1, 9)], homes)
    (winner,) = [each.result["version"] for each in ended if each.failure is None]
    assert all("was judged against no champion" in each.failure.message for each in ended if each.failure)
    assert champions() == (winner, [winner], None)
