"""What many tests share: a word tokenizer with a ChatML template, a tiny random base in a folder, toy rows.

Nothing heavy is imported until a fixture asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stepladder.core.discovery import Registry
    from stepladder.core.method import Data
    from stepladder.core.model.base import Base
    from stepladder.core.types import Encoded, Example
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<unk>", "<pad>", "<|im_start|>", "<|im_end|>")
WORDS = """
system user assistant Answer with one of red blue green the a sky sea is my your car house today looks was
seems door paint very quite dull bright which colour A N merged weights must say what adapter said The now
"""
MARKS = ("\n", "\n\n", " ", ":", ".", ",", "?", "/", " ?")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def vocabulary() -> list[str]:
    """97 tokens: each word as it opens a text and as it follows a space."""
    return [*SPECIAL, *MARKS, *(form for word in WORDS.split() for form in (word, f" {word}"))]


@dataclass(frozen=True)
class ListSplit:
    """A split that is held in memory (`types.Split`)."""

    rows: Sequence[Example]
    tokens: Sequence[Encoded]

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int) -> Example:
        return self.rows[index]

    def encoded(self, index: int) -> Encoded:
        return self.tokens[index]

    def examples(self) -> list[Example]:
        return list(self.rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which steps the kills of tests/faults/test_kills.py have met, and how often."""
    calls = (report for report in terminalreporter.getreports("passed") if report.when == "call")
    met = Counter(step for call in calls for name, step in call.user_properties if name == "killed in")
    for step, times in sorted(met.items()):
        terminalreporter.write_line(f"killed in {step}: {times}")


@pytest.fixture(scope="session")
def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, a ChatML template, `<|im_end|>` as the end of a text and of a turn."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: place for place, token in enumerate(vocabulary())}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?[^\sA-Za-z]|\s+"), "isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
    )
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory, word_tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random Llama of 3 layers with grouped queries, as `save_pretrained` leaves it.

    By its seed the sum of log-probabilities is a bad rule on the toy rows, and their mean a good one.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base") / "tiny-llama"
    config = LlamaConfig(
        vocab_size=len(word_tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.15,
        bos_token_id=word_tokenizer.bos_token_id,
        eos_token_id=word_tokenizer.eos_token_id,
        pad_token_id=word_tokenizer.pad_token_id,
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)
    word_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bases are loaded in float32 also where there is a GPU, which would take them in bfloat16."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def load(base_folder: Path, on_the_cpu: None) -> Callable[[], Base]:
    """Loads the tiny base anew, in float32."""

    def load_anew() -> Base:
        from stepladder.core.model.base import load_base
        from stepladder.core.model.locate import BaseRef

        return load_base(BaseRef("tiny-llama", str(base_folder), "0" * 64))

    return load_anew


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 2 layers, whose tokenizer has no end token, and [CLS] and [SEP] around a text."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys([*MARKS[3:8], *WORDS.split()])]
    ids = {token: place for place, token in enumerate(words)}
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.15,
    )
    torch.manual_seed(1)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def load_encoder(encoder_folder: Path, on_the_cpu: None) -> Callable[[], Base]:
    """Loads the tiny encoder anew, in float32."""

    def load_anew() -> Base:
        from stepladder.core.model.base import load_base
        from stepladder.core.model.locate import BaseRef

        return load_base(BaseRef("tiny-bert", str(encoder_folder), "1" * 64))

    return load_anew


@pytest.fixture
def base(load: Callable[[], Base]) -> Base:
    """The tiny base; a test may attach what it likes to it."""
    return load()


@pytest.fixture
def toy(base: Base) -> Data:
    """Classification by the one word of colour in the input; more blue rows than red ones."""
    from stepladder.core.data.wording import Wording
    from stepladder.core.method import Data, DataSchema, Prompt
    from stepladder.core.types import Encoded
    from stepladder.plugins.tasks.classify import Classify

    labels = ("blue sky sea", "red")
    schema = DataSchema(Classify(), "which colour is the car ?", labels)
    wording = Wording(base.renderer, schema, Prompt())

    def split(examples: list[Example]) -> ListSplit:
        encoded = [row for row in wording.encode(examples) if isinstance(row, Encoded)]
        assert len(encoded) == len(examples), "toy rows can all be rendered"
        return ListSplit(examples, encoded)

    rows = toy_examples()
    return Data(schema.task, schema.instruction, labels, train=split(rows[:48]), validation=split(rows[48:]))


def toy_examples() -> list[Example]:
    """64 different inputs in a fixed order, three of four of them blue."""
    import itertools

    from stepladder.core.types import Example

    phrases = itertools.product(
        ("the car", "my house", "your door", "the paint"), ("is", "was", "looks", "seems")
    )
    shades = ("", " very", " quite", " today")
    examples = []
    for place, ((thing, verb), shade) in enumerate(itertools.product(phrases, shades)):
        colour, label = ("red", "red") if (place * 7) % 4 == 1 else ("blue", "blue sky sea")
        examples.append(Example(f"toy-{place}", f"{thing} {verb}{shade} {colour}", label))
    return [examples[(place * 37) % 64] for place in range(64)]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """All plugins there are."""
    from stepladder.core.discovery import discover

    return discover()
