"""Finished steps are whole or absent; broken ones are noticed; two callers never share a step."""

import threading

import pytest
from stepladder.core.manifest import is_whole


@pytest.fixture
def place(store):
    return store.place("fit", "0123456789abcdef" * 4)


def finished(place):
    folder = place.begin()
    (folder / "inner").mkdir()
    (folder / "inner" / "weights").write_bytes(b"12345")
    (folder / "inner" / "manifest.json").write_text("{}")
    return place.finish()


def test_a_finished_step_is_whole_and_alone(place):
    folder = finished(place)
    assert folder.name == "fit-0123456789abcdef"
    assert is_whole(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_unfinished_step_is_not_whole(place):
    folder = place.begin()
    (folder / "weights").write_bytes(b"12")
    assert not is_whole(folder)
    assert not is_whole(place.final)


@pytest.mark.parametrize("name", ["inner/weights", "inner/manifest.json", "manifest.json"])
def test_a_changed_file_is_noticed(place, name):
    folder = finished(place)
    (folder / name).write_bytes(b"54321")
    assert not is_whole(folder)


def test_a_missing_and_an_added_file_are_noticed(place):
    folder = finished(place)
    (folder / "added").touch()
    assert not is_whole(folder)
    (folder / "added").unlink()
    assert is_whole(folder)
    (folder / "inner" / "weights").unlink()
    assert not is_whole(folder)


def test_what_a_killed_step_left_is_cleared_but_its_scratch_folder_is_kept(place):
    (place.begin() / "half").touch()
    (place.scratch / "checkpoint").touch()
    assert list(place.begin().iterdir()) == []
    assert (place.scratch / "checkpoint").exists()
    assert sorted(path.name for path in place.final.parent.iterdir()) == [
        place.partial.name,
        place.scratch.name,
    ]


def test_a_second_caller_waits_for_the_first(store, place):
    order = []
    waiting = threading.Event()

    def second():
        with store.locked(place, waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.locked(place, lambda: order.append("nobody waits here")):
        thread.start()
        assert waiting.wait(timeout=20)
        order.append("first")
    thread.join(timeout=20)
    assert order == ["first", "second"]
