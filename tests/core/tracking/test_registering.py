"""One version for a fingerprint: registered and copied again, at once from many homes, and after kills."""

import pytest
from stepladder.core.errors import ModelError

NAME, TARGET = "support", "prod.support"


@pytest.fixture
def spec(package, home):
    return {"what": "register", "name": NAME, "fingerprint": "f1", "package": str(package), "home": str(home)}


@pytest.fixture
def there(client):
    """The numbers of the versions there are, and who is challenger."""

    def read(name=NAME):
        versions = sorted(
            int(version.version) for version in client.search_model_versions(f"name = '{name}'")
        )
        challenger = client.get_registered_model(name).aliases.get("challenger")
        return versions, challenger and int(challenger)

    return read


@pytest.mark.parametrize("homes", [1, 8])
def test_eight_that_register_the_same_make_one_version(at_once, there, spec, homes):
    ended = at_once([spec] * 8, homes)
    assert [each.failure for each in ended] == [None] * 8
    (version,) = {each.result["version"] for each in ended}
    assert sorted(each.result["created"] for each in ended) == [False] * 7 + [True]
    assert there() == ([int(version)], int(version))


@pytest.mark.parametrize("kill", [(number, when) for number in range(1, 4) for when in ("before", "after")])
def test_a_killed_registration_is_completed_by_the_next(change, client, there, spec, kill):
    """It writes 1 the registered model, 2 the version, 3 the alias."""
    assert "killed by SIGKILL" in change(spec, kill).failure.message
    made_before = kill not in [(1, "before"), (1, "after"), (2, "before")]
    again = change(spec).result
    assert (again["version"], again["created"]) == ("1", not made_before)
    assert there() == ([1], 1)


def test_duplicates_that_killed_processes_left_go_with_the_next_registration(
    change, make_version, there, spec
):
    """They die between making a version and finding that another one is first."""
    make_version("f1"), make_version("f1"), make_version("f2"), make_version("f1")
    again = change(spec).result
    assert (again["version"], again["created"]) == ("1", False)
    assert there() == ([1, 3], 1)


def test_duplicates_go_at_a_reconcile_too_unless_somebody_counts_on_them(
    client, make_version, promote, there
):
    from stepladder.core.tracking.champion import reconcile

    for fingerprint in ("f1", "f1", "f1", "f1", "f2", ""):
        make_version(fingerprint)
    make_version("")
    promote("2"), promote("3", after="2")
    client.set_registered_model_alias(NAME, "canary", "4")
    make_version("f1")
    reconcile(client, NAME)
    assert there() == ([1, 2, 3, 4, 5, 6, 7], None)


def test_a_version_without_files_does_not_count(make_version, change, there, spec, tmp_path):
    make_version("f1", source=tmp_path / "nowhere")
    made = change(spec).result
    assert (made["version"], made["created"]) == ("2", True)
    assert there() == ([1, 2], 2)


def test_a_registration_without_files_is_taken_back(change, there, spec, tmp_path):
    failure = change({**spec, "package": str(tmp_path / "nowhere")}).failure
    assert "version 1 of support has no files; it was deleted again" in failure.message
    assert there() == ([], None)


def test_a_copy_is_the_challenger_elsewhere_without_what_was_said_of_the_version(
    client, make_version, package
):
    from stepladder.core.tracking.champion import approve
    from stepladder.core.tracking.copying import copy_version
    from stepladder.core.tracking.tags import PREVIOUS_CHAMPION, VERDICT
    from stepladder.core.tracking.versions import download, find, set_tags

    make_version("f1", **{"stepladder.method": "lora", "team": "green"})
    source = find(client, f"{NAME}/1")
    said = {
        VERDICT: "promoted",
        f"{VERDICT}.reason": "yes",
        PREVIOUS_CHAMPION: "",
        "stepladder.gate.size": "passed",
    }
    set_tags(client, source, {**said, "stepladder.gate.size.bytes": "3", "stepladder.test_sha256": "0"})
    approve(client, NAME, "1", "ada")
    source = find(client, f"{NAME}/1")
    first, again = copy_version(client, source, TARGET), copy_version(client, source, TARGET)
    assert (first.uri, again.uri) == (f"models:/{TARGET}/1", f"models:/{TARGET}/1")
    copy = find(client, f"{TARGET}@challenger")
    assert copy.tags == {
        "stepladder.fingerprint": "f1",
        "stepladder.method": "lora",
        "team": "green",
        "stepladder.copied_from": f"models:/{NAME}/1",
    }
    client.delete_model_version(NAME, "1")
    assert (download(copy, package.parent / "copied") / "served.json").exists()


def test_what_is_no_whole_version_is_not_copied(client, make_version, tmp_path):
    from stepladder.core.tracking.copying import copy_version
    from stepladder.core.tracking.versions import find

    make_version("f1", source=tmp_path / "nowhere"), make_version("")
    for number in "12":
        with pytest.raises(ModelError, match=f"models:/{NAME}/{number} cannot be copied"):
            copy_version(client, find(client, f"{NAME}/{number}"), TARGET)
    assert [model.name for model in client.search_registered_models()] == [NAME]


def test_eight_copies_from_eight_homes_are_one(at_once, make_version, there):
    make_version("f1")
    ended = at_once([{"what": "copy", "source": f"{NAME}/1", "name": TARGET}] * 8, homes=8)
    assert [each.failure for each in ended] == [None] * 8
    (version,) = {each.result["version"] for each in ended}
    assert there(TARGET) == ([int(version)], int(version))


@pytest.mark.parametrize("kill", [(1, "after"), (2, "before"), (2, "after"), (3, "after")])
def test_a_killed_copy_is_completed_by_the_next(change, make_version, there, home, kill):
    make_version("f1")
    spec = {"what": "copy", "source": f"{NAME}/1", "name": TARGET, "home": str(home)}
    assert "killed by SIGKILL" in change(spec, kill).failure.message
    assert change(spec).result["version"] == "1"
    assert there(TARGET) == ([1], 1)
