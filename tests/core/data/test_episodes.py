"""Tasks are told apart by row and label, and the two sides of an episode share labels but no row."""

import random
from collections import Counter

from stepladder.core.data.episodes import draw_episode, drawable, rows_by_task
from stepladder.core.types import Example


def example(task: str, label: str) -> Example:
    return Example("", f"{task} {label}", label, task=task)


def test_rows_stand_by_task_and_label_in_alphabetical_order():
    rows = [example("b", "y"), example("a", "x"), example("b", "x"), example("b", "y")]
    assert rows_by_task(rows) == {"a": {"x": [1]}, "b": {"x": [2], "y": [0, 3]}}
    assert [*rows_by_task(rows)["b"]] == ["x", "y"]


def test_a_label_is_drawable_with_rows_for_both_sides():
    assert drawable({"x": [1, 2, 3], "y": [4, 5, 6, 7]}, shots=2) == ["y"]


def test_an_episode_is_of_one_task_and_no_row_is_on_both_sides():
    labels = {index: f"{index // 10 % 10}" for index in range(200)}  # of each of two tasks ten labels
    tasks = [{str(n): range(t * 100 + n * 10, t * 100 + n * 10 + 10) for n in range(10)} for t in range(2)]
    source, seen = random.Random(0), set()
    for _ in range(50):
        episode = draw_episode(tasks, ways=3, shots=4, source=source)
        assert list(episode.labels) == [0] * 4 + [1] * 4 + [2] * 4
        assert len({*episode.support, *episode.query}) == 24
        assert len({index // 100 for index in (*episode.support, *episode.query)}) == 1
        for side in (episode.support, episode.query):
            by_place = [{labels[index] for index in side[place : place + 4]} for place in (0, 4, 8)]
            assert [len(each) for each in by_place] == [1, 1, 1]
        assert [labels[index] for index in episode.support] == [labels[index] for index in episode.query]
        seen.add((episode.support[0] // 100, labels[episode.support[0]]))
    assert Counter(task for task, _ in seen)[1] > 5, "labels change places from draw to draw"


def test_the_same_seed_draws_the_same():
    tasks = [{"x": range(9), "y": range(9, 30)}]
    first, again = (draw_episode(tasks, 2, 3, random.Random(5)) for _ in range(2))
    assert first == again
