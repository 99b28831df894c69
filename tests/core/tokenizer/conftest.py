"""Five template families, each as Jinja and, apart from it, as a plain function; and two tiny tokenizers.

The word tokenizer's vocabulary is written out, so that golden ids can be written by hand. The byte
tokenizer is trained here on a few lines and can spell any text, for properties over random messages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from stepladder.core.types import Message
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

Segments = list[tuple[str, bool]]

WORDS = {
    "<unk>": 0, "<s>": 1, "</s>": 2, "<|im_start|>": 3, "<|im_end|>": 4, "<|begin_of_text|>": 5,
    "<|start_header_id|>": 6, "<|end_header_id|>": 7, "<|eot_id|>": 8, "<bos>": 9, "<start_of_turn>": 10,
    "<end_of_turn>": 11, "\n": 12, "\n\n": 13, "system": 14, "user": 15, "assistant": 16, "model": 17,
    "<|": 18, "|>": 19, "[": 20, " [/": 21, "INST": 22, "]": 23, "System": 24, "User": 25, "Assistant": 26,
    ":": 27, "Be": 28, " brief": 29, "Hi": 30, "Hello": 31, "Why": 32, "Because": 33, " Be": 34, " Hi": 35,
    " Hello": 36, " Why": 37, " Because": 38, "<|end_of_text|>": 39, "<eos>": 40, "\n\n\n": 41, " ": 42,
}  # fmt: skip

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{{ m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{% set system = '' %}{% set turns = messages %}"
    "{% if messages[0].role == 'system' %}"
    "{% set system = messages[0].content + '\n\n' %}{% set turns = messages[1:] %}{% endif %}"
    "{{ bos_token }}{% for m in turns %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (system if loop.first else '') + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def chatml(messages: Sequence[Message]) -> Segments:
    out: Segments = []
    for m in messages:
        out += [(f"<|im_start|>{m.role}\n", False), (f"{m.content}<|im_end|>\n", m.role == "assistant")]
    return out


def llama3(messages: Sequence[Message]) -> Segments:
    out: Segments = [("<|begin_of_text|>", False)]
    for m in messages:
        out += [(f"<|start_header_id|>{m.role}<|end_header_id|>\n\n", False)]
        out += [(f"{m.content.strip()}<|eot_id|>", m.role == "assistant")]
    return out


def mistral(messages: Sequence[Message]) -> Segments:
    system, out = "", [("<s>", False)]
    for m in messages:
        if m.role == "system":
            system = m.content + "\n\n"
        elif m.role == "user":
            out += [(f"[INST] {system}{m.content} [/INST]", False)]
            system = ""
        else:
            out += [(f" {m.content.strip()}</s>", True)]
    return out


def gemma(messages: Sequence[Message]) -> Segments:
    out: Segments = [("<bos>", False)]
    for m in messages:
        name = {"assistant": "model"}.get(m.role, m.role)
        out += [(f"<start_of_turn>{name}\n", False)]
        out += [(f"{m.content.strip()}<end_of_turn>\n", m.role == "assistant")]
    return out


def zephyr(messages: Sequence[Message]) -> Segments:
    out: Segments = []
    for m in messages:
        out += [(f"<|{m.role}|>\n", False), (f"{m.content}</s>\n", m.role == "assistant")]
    return out


def plain(messages: Sequence[Message]) -> Segments:
    out: Segments = []
    for place, m in enumerate(messages):
        answer = m.role == "assistant"
        out += [(f"{chr(10) if place else ''}{m.role.capitalize()}:", False)]
        out += [(f" {m.content.strip()}{'</s>' if answer else ''}", answer)]
    return out


@dataclass(frozen=True)
class Family:
    """A template family: `control` are the strings that no content may spell."""

    template: str | None
    segments: Callable[[Sequence[Message]], Segments]
    bos: str | None
    eos: str
    special: tuple[str, ...]
    control: tuple[str, ...]

    def words(self) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
        pieces = Regex(r" ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(pieces, "isolated")
        tokenizer.decoder = decoders.Fuse()
        return self._wrap(tokenizer)

    def bytes(self) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(models.BPE())
        # Line feeds cling to what stands before them, as in the vocabularies that these templates come with.
        pieces = Regex(r" ?\p{L}+| ?[^\s\p{L}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(pieces, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=420,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=list(self.special),
            show_progress=False,
        )
        corpus = ["user assistant system model: Hi\n\nbe brief\n\nWhy? Because hello <|user|>\n\n [INST]"] * 9
        tokenizer.train_from_iterator(corpus, trainer)
        return self._wrap(tokenizer)

    def _wrap(self, tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=self.bos,
            eos_token=self.eos,
            pad_token=self.eos,
            extra_special_tokens=list(self.special),
        )
        wrapped.chat_template = self.template
        return wrapped


IM = ("<|im_start|>", "<|im_end|>")
HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>")
TURNS = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
SENTENCE = ("<s>", "</s>")
FAMILIES = {
    "chatml": Family(CHATML, chatml, "<|im_start|>", "<|im_end|>", IM, IM),
    "llama3": Family(LLAMA3, llama3, "<|begin_of_text|>", "<|end_of_text|>", HEADERS, HEADERS),
    "mistral": Family(MISTRAL, mistral, "<s>", "</s>", SENTENCE, (*SENTENCE, "[INST]", "[/INST]")),
    "gemma": Family(GEMMA, gemma, "<bos>", "<eos>", TURNS, TURNS),
    "zephyr": Family(
        ZEPHYR, zephyr, "<s>", "</s>", SENTENCE, (*SENTENCE, "<|user|>", "<|assistant|>", "<|system|>")
    ),
    "plain": Family(None, plain, None, "</s>", ("</s>",), ("</s>",)),
}


@pytest.fixture(scope="session")
def families() -> dict[str, Family]:
    return FAMILIES


@pytest.fixture(scope="session")
def words() -> dict[str, PreTrainedTokenizerFast]:
    """The word tokenizer of each family, and one without a template that adds its own begin token."""
    tokenizers = {name: family.words() for name, family in FAMILIES.items()}
    begins = Family(None, plain, "<s>", "</s>", SENTENCE, SENTENCE).words()
    begins.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return {**tokenizers, "plain_with_begin": begins}


@pytest.fixture(scope="session")
def spellers() -> dict[str, PreTrainedTokenizerFast]:
    """The byte tokenizer of each family."""
    return {name: family.bytes() for name, family in FAMILIES.items()}
