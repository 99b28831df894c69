"""Conversations and plain texts to tokens and masks.

A conversation is printed by the tokenizer's own chat template and then tokenized as it stands (the
template prints the begin token, so none is added). The mask of an assistant turn k comes from two
more prints of the same conversation, both of which must be *token* prefixes of the whole:

    prompt_k  = print(messages[:k], with the generation prompt)     what the model is given
    printed_k = print(messages[:k + 1])                             and what it must have written
    trained_k = the tokens of printed_k beyond those of prompt_k

Everything the template prints for a turn is trained, its end token included. Where a token spans the
join, a later turn changes an earlier one, or a content forges a turn, the row is a RowFault: there is
no fallback that guesses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from ..errors import ModelError, RowFault
from ..types import Encoded, Message
from .template import Template, Turns
from .vocabulary import Vocabulary, any_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

P = ParamSpec("P")
T = TypeVar("T")
Train = Literal["all", "last"]
Conversation = Sequence[Message]
Table = Mapping[str, list[int]]
# A print of a batch's row: the row's place, how many of its messages, and whether it asks for an answer.
Key = tuple[int, int, bool]


@dataclass(frozen=True, slots=True)
class Turn:
    """A trained assistant turn: its place (from 1), the text before it and the text up to its end."""

    number: int
    prompt: str
    printed: str


@dataclass(frozen=True, slots=True)
class Printed:
    """A conversation as the template prints it, and its trained turns."""

    whole: str
    turns: tuple[Turn, ...]

    def texts(self) -> list[str]:
        return [self.whole, *(turn.prompt for turn in self.turns), *(turn.printed for turn in self.turns)]


class Renderer:
    """Renders with one tokenizer; `stop_ids` are the tokens that end an assistant turn.

    A tokenizer without a chat template gets a small one of ours. Raises ModelError where the template
    cannot print a conversation at all, or where nothing can end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.has_template: bool = tokenizer.chat_template is not None
        self._vocabulary = Vocabulary(tokenizer)
        self._template = Template(self._vocabulary)
        self._control = any_of(self._vocabulary.special_strings() | self._template.control_strings())
        self.stop_ids = self._template.stop_ids(self._vocabulary)
        self._vocabulary.cut_at_tokens_in(self._template.literals())

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that decides how a conversation becomes tokens."""
        parts = f"{self._template.source}\0{self._vocabulary.digest()}"
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def template(self) -> str:
        """The chat template that it prints with, for others to print the same."""
        return self._template.standalone()

    @property
    def begin(self) -> list[int]:
        """What the tokenizer itself puts before a text."""
        return self._vocabulary.begin

    def sequences(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of whole texts that are only read, nothing added."""
        return self._vocabulary.ids(texts)

    # --- conversations ---

    def prompt(self, messages: Conversation) -> list[int]:
        """The tokens of the conversation so far, up to where the assistant begins to write.

        Raises RowFault for a forged turn and for what the template refuses.
        """
        text = self.prompt_text(messages)
        return self._tokenize([text])[text]

    def prompt_text(self, messages: Conversation) -> str:
        """The text of which `prompt` gives the tokens."""
        self._check_contents(messages)
        return self._template.print(_turns(messages), ask=True)

    def conversation(self, messages: Conversation, train: Train = "all") -> Encoded:
        """One conversation; raises the RowFault that `conversations` returns."""
        return _or_raise(self.conversations([messages], train)[0])

    def conversations(
        self, conversations: Sequence[Conversation], train: Train = "all"
    ) -> list[Encoded | RowFault]:
        """Tokens and mask of each conversation, or why it has none.

        Trains every assistant turn, or with `train="last"` the last one only (the others are
        demonstrations). Meant for batches of some thousand rows.
        """
        turns = [_attempt(self._trained_turns, messages, train) for messages in conversations]
        printed = self._print(conversations, turns)
        table = self._tokenize(*(p.texts() for p in printed if isinstance(p, Printed)))
        return [p if isinstance(p, RowFault) else _attempt(self._encode, p, table) for p in printed]

    def _trained_turns(self, messages: Conversation, train: Train) -> list[int]:
        """Indices of the messages to train on."""
        self._check_contents(messages)
        turns = [index for index, message in enumerate(messages) if message.role == "assistant"]
        if not turns:
            raise RowFault("nothing to train: the conversation has no assistant turn")
        return turns if train == "all" else turns[-1:]

    def _check_contents(self, messages: Conversation) -> None:
        for number, message in enumerate(messages, 1):
            if message.role == "assistant" and not message.content.strip():
                raise RowFault(f"turn {number} (assistant) is empty")
            self._check_text(message.content, f"turn {number} ({message.role})")

    def forges(self, text: str) -> bool:
        """Whether no turn can hold this text."""
        return not _is_unicode(text) or self._control.search(text) is not None

    def _check_text(self, text: str, where: str) -> None:
        if not _is_unicode(text):
            raise RowFault(f"{where} is no valid Unicode text: it has half of a surrogate pair")
        if found := self._control.search(text):
            raise RowFault(f"{where} contains the control string {found[0]!r}, which would forge a turn")

    def _print(
        self, conversations: Sequence[Conversation], turns: Sequence[list[int] | RowFault]
    ) -> list[Printed | RowFault]:
        """Print every text that the masks need, by two calls of the template for the whole batch."""
        rows = [(row, ks) for row, ks in enumerate(turns) if not isinstance(ks, RowFault)]
        keys = [key for row, ks in rows for key in _keys(row, ks, len(conversations[row]))]
        plain = [_turns(messages) for messages in conversations]
        prints: dict[Key, str | RowFault] = {}
        for ask in (True, False):
            asked = [key for key in keys if key[2] is ask]
            texts = self._template.print_all([plain[row][:upto] for row, upto, _ in asked], ask)
            prints.update(zip(asked, texts, strict=True))
        return [
            ks if isinstance(ks, RowFault) else _attempt(_printed, row, ks, len(conversations[row]), prints)
            for row, ks in enumerate(turns)
        ]

    def _tokenize(self, *groups: Sequence[str]) -> Table:
        return self._vocabulary.table(chain.from_iterable(groups))

    def _encode(self, printed: Printed, table: Table) -> Encoded:
        tokens = table[printed.whole]
        trained = [False] * len(tokens)
        for turn in printed.turns:
            start, end = self._span(turn, printed.whole, table)
            trained[start:end] = [True] * (end - start)
        return Encoded(tokens, trained)

    def _span(self, turn: Turn, whole: str, table: Table) -> tuple[int, int]:
        """Where the turn's own tokens start and end in the whole. Raises RowFault where it is not certain."""
        prompt, printed = table[turn.prompt], table[turn.printed]
        start, end = len(prompt), len(printed)
        if printed[:start] != prompt:
            raise _not_a_prefix(turn, turn.prompt, turn.printed, "the prompt")
        if table[whole][:end] != printed:
            raise _not_a_prefix(turn, turn.printed, whole, "the turn")
        if start == 0:
            raise RowFault(f"turn {turn.number} (assistant): nothing stands before it to predict it from")
        if self.stop_ids.isdisjoint(printed[start:]):
            raise RowFault(f"turn {turn.number} (assistant): the chat template prints no end token for it")
        if printed[start] in self.stop_ids:
            raise RowFault(f"turn {turn.number} (assistant): the chat template prints nothing of its content")
        return start, end

    # --- plain texts ---

    def plain(self, prompt: str, answer: str) -> Encoded:
        """One prompt with its answer; raises the RowFault that `plains` returns."""
        return _or_raise(self.plains([(prompt, answer)])[0])

    def plains(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded | RowFault]:
        """Prompt and answer as one text, no template; the answer's tokens and the end token are trained."""
        checked = [_attempt(self._check_pair, prompt, answer) for prompt, answer in pairs]
        table = self._tokenize(*((p[0], p[0] + p[1]) for p in checked if not isinstance(p, RowFault)))
        return [p if isinstance(p, RowFault) else _attempt(self._join, *p, table) for p in checked]

    def text(self, text: str) -> Encoded:
        """One text; raises the RowFault that `texts` returns."""
        return self.plain("", text)

    def texts(self, texts: Sequence[str]) -> list[Encoded | RowFault]:
        """Texts to be learned whole, an end token after each: all trained but the first token."""
        return self.plains([("", text) for text in texts])

    def _check_pair(self, prompt: str, answer: str) -> tuple[str, str]:
        if not answer.strip():
            raise RowFault("nothing to train: the text is empty")
        self._check_text(prompt + answer, "the text")
        return prompt, answer

    def _join(self, prompt: str, answer: str, table: Table) -> Encoded:
        before = table[prompt] if prompt else []
        whole = table[prompt + answer]
        if whole[: len(before)] != before:
            raise RowFault(_merged(prompt, prompt + answer, "the prompt"))
        tokens = [*self._vocabulary.begin, *whole, self._end()]
        # Nothing predicts the very first token.
        untrained = max(1, len(self._vocabulary.begin) + len(before))
        return Encoded(tokens, [False] * untrained + [True] * (len(tokens) - untrained))

    def _end(self) -> int:
        if self._vocabulary.end is None:
            raise ModelError(
                f"{self._vocabulary.name}: plain text needs an end token, and eos_token is not set"
            )
        return self._vocabulary.end


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _turns(messages: Conversation) -> Turns:
    return [{"role": message.role, "content": message.content} for message in messages]


def _keys(row: int, turns: Sequence[int], length: int) -> list[Key]:
    """The prints of a row: before each trained turn, up to its end, and the whole."""
    ends = dict.fromkeys([*(k + 1 for k in turns), length])
    return [*((row, k, True) for k in turns), *((row, end, False) for end in ends)]


def _printed(row: int, turns: Sequence[int], length: int, prints: Mapping[Key, str | RowFault]) -> Printed:
    def text(upto: int, ask: bool) -> str:
        return _or_raise(prints[row, upto, ask])

    return Printed(text(length, False), tuple(Turn(k + 1, text(k, True), text(k + 1, False)) for k in turns))


def _not_a_prefix(turn: Turn, before: str, after: str, what: str) -> RowFault:
    where = f"turn {turn.number} (assistant)"
    if after.startswith(before):
        return RowFault(f"{where}: {_merged(before, after, what)}")
    return RowFault(f"{where}: the chat template prints {what} in another way when more follows")


def _merged(before: str, after: str, what: str) -> str:
    join = f"{before[-12:]}|{after[len(before) :][:12]}"
    return f"join merged: a token spans the end of {what}, at {join!r}"


def _attempt(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | RowFault:
    """The function's value, or the RowFault that it raised (without the frames, which hold whole batches)."""
    try:
        return function(*args, **kwargs)
    except RowFault as fault:
        return fault.with_traceback(None)


def _or_raise(outcome: T | RowFault) -> T:
    if isinstance(outcome, RowFault):
        raise outcome
    return outcome
