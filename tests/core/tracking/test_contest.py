"""The first and the last step of a promotion, on a registry whose packages are a few files."""

import json
import shutil

import pytest
from stepladder.core.errors import InputError, ModelError, StepError
from stepladder.core.steps import contest
from stepladder.core.steps import promote as promote_step

NAME, TARGET = "support", "prod.support"
GATES = [{"better_than_champion": {"margin": 0.0}}]
LIMITS = {"minutes": 30.0, "memory_gb": None}


@pytest.fixture
def package(package):
    lineage = {"config": {"promote": {"gates": GATES}, "limits": LIMITS}}
    (package / "artifacts" / "served" / "lineage.json").write_text(json.dumps(lineage))
    (package / "loader.py").write_text("")
    return package


@pytest.fixture
def contested(tmp_path):
    """Run the step; returns its result and its folder."""

    def run(**asked):
        promotion = {"name": NAME, "version": None, "to": None, "gates": None, "token": "t", **asked}
        folder = tmp_path / "contest"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return contest.run({"promotion": promotion, "needs": {}}, folder), folder

    return run


@pytest.fixture
def challenger(client, make_version):
    make_version("f1"), make_version("f2")
    client.set_registered_model_alias(NAME, "challenger", "2")


def test_the_first_promotion_has_no_champion(challenger, contested):
    result, folder = contested()
    assert result == {
        "name": NAME,
        "challenger": {"version": "2", "fingerprint": "f2"},
        "champion": None,
        "already": False,
        "gates": GATES,
        "limits": LIMITS,
        "approval": "",
    }
    assert (folder / "challenger" / "served.json").exists()
    assert not (folder / "champion").exists()


def test_a_version_against_the_champion(client, challenger, contested, promote):
    from stepladder.core.tracking.champion import approve

    promote("2")
    approve(client, NAME, "1", "ada")
    result, folder = contested(version="1", gates=[])
    assert result["challenger"] == {"version": "1", "fingerprint": "f1"}
    assert result["champion"] == {"version": "2", "fingerprint": "f2", "fault": ""}
    assert (result["gates"], result["approval"]) == ([], "ada")
    assert (folder / "champion" / "served.json").exists()


def test_the_champion_itself_is_no_challenger(challenger, contested, promote):
    promote("2")
    result, folder = contested()
    assert result["already"]
    assert list(folder.iterdir()) == []


def test_a_champion_without_files_can_be_replaced(
    client, challenger, make_version, contested, promote, tmp_path
):
    make_version("f3", source=tmp_path / "nowhere")
    promote("3")
    result, folder = contested()
    assert result["champion"]["version"] == "3"
    assert "version 3 of support has no package" in result["champion"]["fault"]
    assert not (folder / "champion").exists()


def test_a_challenger_without_files_is_an_error(challenger, make_version, contested, tmp_path):
    make_version("f3", source=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="version 3 of support has no package"):
        contested(version="3")


def test_a_challenger_with_another_loader_is_an_error(client, challenger, contested):
    client.set_model_version_tag(NAME, "2", "stepladder.loader_sha256", "0" * 64)
    with pytest.raises(ModelError, match=r"loader.py is not what was registered"):
        contested()


def test_unknown_names_and_versions_are_told(challenger, contested):
    with pytest.raises(InputError, match="did you mean 'support'"):
        contested(name="suport")
    with pytest.raises(InputError, match="has no version 9"):
        contested(version="9")


def test_what_an_earlier_promotion_left_half_done_is_put_right_first(
    challenger, contested, change, client, home
):
    spec = {"what": "promote", "name": NAME, "version": "1", "champion": None, "home": str(home)}
    assert change(spec, (3, "after")).failure is not None
    assert client.get_model_version_by_alias(NAME, "champion").version == 1
    result, _ = contested()
    assert result["champion"] is None
    assert "champion" not in client.get_registered_model(NAME).aliases


def test_across_environments_the_contest_is_in_the_target(
    client, challenger, contested, promote, make_version
):
    make_version("f9", name=TARGET)
    promote("1", name=TARGET)
    promote("2")
    for _ in range(2):
        result, _ = contested(to=TARGET)
        assert result["name"] == TARGET
        assert result["challenger"] == {"version": "2", "fingerprint": "f2"}
        assert result["champion"] == {"version": "1", "fingerprint": "f9", "fault": ""}
    assert [client.get_registered_model(name).aliases["champion"] for name in (NAME, TARGET)] == [2, 1]


@pytest.fixture
def promoted(tmp_path):
    def run(result):
        done, folder = tmp_path / "contest-done", tmp_path / "promote"
        for each in (done, folder):
            each.mkdir()
        (done / "result.json").write_text(json.dumps(result))
        spec = {"promotion": {"token": "t"}, "needs": {"contest": str(done)}}
        return promote_step.run(spec, folder)

    return run


def test_a_package_that_does_not_prove_itself_is_not_promoted(
    client, challenger, contested, promoted, promote
):
    promote("1")
    result, _ = contested()
    with pytest.raises(
        StepError, match=r"version 2 was not promoted; version 1 is champion still: .*manifest"
    ):
        promoted(result)
    assert client.get_model_version_by_alias(NAME, "champion").version == 1


def test_who_is_champion_already_is_not_promoted_again(challenger, contested, promoted, promote):
    promote("2")
    assert promoted(contested()[0]) == {"promoted": None}
