"""Worded candidates of tasks that are answered by a number."""

from stepladder.core.decoder import Decoder
from stepladder.core.method import DataSchema, Prompt, Settings
from stepladder.core.model.worded import Worded
from stepladder.core.types import Answer, Example
from stepladder.plugins.methods.zero_shot import ZeroShot
from stepladder.plugins.tasks.regress import Regress


class Fixed(Decoder):
    """Writes what it was given."""

    name = "fixed"

    def __init__(self, answers):
        super().__init__(Settings())
        self.answers = answers

    def decode(self, writer, examples):
        return [Answer(text, 3) for text in self.answers]


def test_the_first_number_is_the_answer_and_text_without_one_stays(base):
    written = ["I would say 4.50 of 5", "3.0", "no idea", ""]
    worded = Worded(
        base, DataSchema(Regress(), "", ()), Prompt(), ZeroShot(ZeroShot.Settings(), Fixed(written))
    )
    predictions = worded.predict([Example(f"r{place}", "the sea", "1") for place in range(4)])
    assert [each.predicted for each in predictions] == ["4.5", "3", "no idea", ""]
    assert [each.id for each in predictions] == ["r0", "r1", "r2", "r3"]
    assert [each.written_tokens for each in predictions] == [3, 3, 3, 3]
