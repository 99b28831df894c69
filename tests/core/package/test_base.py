"""The base of a package is found only as it was: at its place, by content, or at the hub's revision."""

import shutil

import huggingface_hub.constants
import pytest
from stepladder.core.errors import ModelError
from stepladder.core.model.locate import NO_BASE, BaseRef, folder_fingerprint
from stepladder.core.package.base import bases_by_content, find_base

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def recorded(home, base_folder):
    return BaseRef(str(base_folder), str(base_folder), folder_fingerprint(base_folder))


def test_a_folder_is_found_where_it_was(recorded):
    assert find_base(recorded) == recorded


def test_no_base_is_found_everywhere():
    assert find_base(NO_BASE) == NO_BASE


def test_a_folder_that_has_moved_is_found_by_its_content(recorded, base_folder):
    gone = BaseRef("/gone/base", "/gone/base", recorded.fingerprint)
    place = bases_by_content(recorded.fingerprint)
    with pytest.raises(
        ModelError, match=rf"no model by the name '/gone/base'.*Put the base as it was at .* {place};"
    ):
        find_base(gone)
    shutil.copytree(base_folder, place)
    assert find_base(gone).path == str(place)


def test_another_content_is_refused_with_what_was_expected_and_found(recorded):
    other = BaseRef(recorded.name, recorded.path, "f" * 64)
    found = recorded.fingerprint[:12]
    with pytest.raises(
        ModelError,
        match=rf"as it was \(sha256 f{{12}}\).*{recorded.name} has another content, sha256 {found};",
    ):
        find_base(other)


def test_a_gguf_file_that_is_gone_is_asked_for_by_its_place(home):
    with pytest.raises(
        ModelError, match=r"Put the file as it was at /gone/base\.gguf, or run the ladder again"
    ):
        find_base(BaseRef("/gone/base.gguf", "/home/x/bases/y", "f" * 64))


@pytest.fixture
def hub(tmp_path, base_folder, monkeypatch):
    """A hub without a network, from which one revision has been fetched before."""
    snapshot = tmp_path / "hub" / "models--owner--tiny" / "snapshots" / REVISION
    shutil.copytree(base_folder, snapshot)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_the_hub_is_asked_for_the_recorded_revision(recorded, hub):
    wanted = BaseRef("owner/tiny", "/elsewhere", recorded.fingerprint, REVISION)
    assert find_base(wanted) == BaseRef("owner/tiny", str(hub), recorded.fingerprint, REVISION)
    newer = BaseRef("owner/tiny", "/elsewhere", recorded.fingerprint, "f" * 40)
    with pytest.raises(
        ModelError, match=r"revision f{40}\).*could not be fetched from the hub.*can be reached"
    ):
        find_base(newer)
