"""What the renderer refuses and why, plain texts, stop tokens, and that batches and cuts change nothing."""

import re

import pytest
from stepladder.core.errors import ModelError, RowFault
from stepladder.core.tokenizer import Renderer
from stepladder.core.types import Message

HI, HELLO = Message("user", "Hi"), Message("assistant", "Hello")
WHY, BECAUSE = Message("user", "Why"), Message("assistant", "Because")


def with_template(tokenizer, template: str) -> Renderer:
    """A renderer on a copy of the tokenizer with another template."""
    copy = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        extra_special_tokens=tokenizer.extra_special_tokens,
    )
    copy.chat_template = template
    return Renderer(copy)


@pytest.mark.parametrize(
    ("family", "ids"),
    [
        ("chatml", {4}),
        ("llama3", {8, 39}),
        ("mistral", {2}),
        ("gemma", {11, 40}),
        ("zephyr", {2}),
        ("plain", {2}),
        ("plain_with_begin", {2}),
    ],
)
def test_stop_ids_are_the_end_token_and_what_the_template_ends_a_turn_with(family, ids, words):
    assert Renderer(words[family]).stop_ids == ids


@pytest.mark.parametrize(
    ("family", "tokens"),
    [
        ("chatml", [3, 15, 12, 30, 4, 12, 3, 16, 12]),
        ("llama3", [5, 6, 15, 7, 13, 30, 8, 6, 16, 7, 13]),
        ("mistral", [1, 20, 22, 23, 35, 21, 22, 23]),
        ("gemma", [9, 10, 15, 12, 30, 11, 12, 10, 17, 12]),
        ("zephyr", [18, 15, 19, 12, 30, 2, 12, 18, 16, 19, 12]),
        ("plain", [25, 27, 35, 12, 26, 27]),
        ("plain_with_begin", [1, 25, 27, 35, 12, 26, 27]),
    ],
)
def test_prompt_ends_where_the_answer_begins(family, tokens, words):
    renderer = Renderer(words[family])
    assert renderer.prompt([HI]) == tokens
    assert renderer.conversation([HI, HELLO]).trained.index(True) == len(tokens)


@pytest.mark.parametrize(
    ("family", "messages", "reason"),
    [
        ("chatml", [], "nothing to train: the conversation has no assistant turn"),
        ("chatml", [HI], "nothing to train: the conversation has no assistant turn"),
        ("chatml", [HI, Message("assistant", " \n")], r"turn 2 \(assistant\) is empty"),
        ("chatml", [HI, Message("assistant", ""), WHY, BECAUSE], r"turn 2 \(assistant\) is empty"),
        (
            "chatml",
            [Message("user", "Hi<|im_end|>"), HELLO],
            r"turn 1 \(user\) contains the control string '<\|im_end",
        ),
        ("chatml", [Message("user", "a\ud800"), HELLO], r"turn 1 \(user\) is no valid Unicode"),
        (
            "zephyr",
            [HI, Message("assistant", "<|user|>")],
            r"turn 2 \(assistant\) contains the control string",
        ),
        ("mistral", [Message("user", "[/INST]"), HELLO], r"control string '\[/INST\]'"),
        ("mistral", [HI, WHY, HELLO], "the chat template refuses the conversation: roles must alternate"),
        ("gemma", [Message("system", "Be brief"), HI, HELLO], "System role not supported"),
        ("chatml", [HI, Message("assistant", "\nHello")], r"join merged: .*assistant\\n\|\\nHello"),
    ],
)
def test_faulty_rows_say_why(family, messages, reason, words):
    renderer = Renderer(words[family])
    outcome = renderer.conversations([messages, [HI, HELLO]], "all")
    assert isinstance(outcome[0], RowFault) and re.search(reason, str(outcome[0]))
    assert outcome[1] == renderer.conversation([HI, HELLO]), "the next row is untouched"


def test_an_answer_may_open_a_conversation_where_something_stands_before_it(words):
    encoded = Renderer(words["chatml"]).conversation([HELLO])
    assert (encoded.tokens, encoded.trained) == ([3, 16, 12, 31, 4, 12], [False] * 3 + [True] * 3)
    bare = with_template(words["chatml"], "{% for m in messages %}{{ m.content + '<|im_end|>' }}{% endfor %}")
    with pytest.raises(RowFault, match=r"turn 1 \(assistant\): nothing stands before it"):
        bare.conversation([HELLO])


def test_an_unknown_word_in_a_corpus_is_no_control_string(words):
    assert Renderer(words["plain"]).conversation([HI, Message("assistant", "Hello <unk>")]).tokens[-1] == 2


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        # An end token only at the very end: earlier turns are printed otherwise once later ones follow.
        (
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
            "{% if loop.last and not add_generation_prompt %}{{ '<|im_end|>' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
            r"turn 2 \(assistant\): the chat template prints the turn in another way when more follows",
        ),
        # Only the last question is ever shown.
        (
            "{% for m in messages[-2:] %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
            "in another way when more follows",
        ),
        # The generation prompt is not how an answer begins.
        (
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}",
            "prints the prompt in another way when more follows",
        ),
        # Turns without an end.
        (
            "{% for m in messages %}{{ m.role + ':' + m.content + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
            "prints no end token",
        ),
        # Answers are left out.
        (
            "{% for m in messages %}{{ m.role + ':' }}{% if m.role == 'user' %}{{ m.content }}{% endif %}"
            "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
            "prints nothing of its content",
        ),
    ],
)
def test_a_template_without_certain_masks_is_refused_row_by_row(template, reason, words):
    renderer = with_template(words["chatml"], template)
    outcome = renderer.conversations([[HI, HELLO, WHY, BECAUSE]], "all")[0]
    assert isinstance(outcome, RowFault) and re.search(reason, str(outcome))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('never') }}", "prints no conversation: .*never"),
        ("{% for m in messages %}", "prints no conversation"),
        # A question appears only together with its answer: it would be trained.
        (
            "{% for m in messages %}{% if m.role == 'assistant' %}"
            "{{ messages[loop.index0 - 1].content + ':' + m.content + '<|im_end|>' }}{% endif %}{% endfor %}",
            "prints other turns in the middle of an answer's",
        ),
    ],
)
def test_a_template_that_is_never_right_is_refused_at_once(template, reason, words):
    with pytest.raises(ModelError, match=reason):
        with_template(words["chatml"], template)


def test_a_default_system_prompt_is_printed_and_not_trained(words):
    default = (
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe brief<|im_end|>\n' }}{% endif %}"
    )
    renderer = with_template(words["chatml"], default + words["chatml"].chat_template)
    encoded = renderer.conversation([HI, HELLO])
    assert encoded.tokens == [3, 14, 12, 28, 29, 4, 12, 3, 15, 12, 30, 4, 12, 3, 16, 12, 31, 4, 12]
    assert encoded.trained == [False] * 16 + [True] * 3


def test_begin_token_that_opens_each_turn_is_printed_as_the_template_says_and_never_added(words):
    assert words["chatml"].bos_token == "<|im_start|>"
    assert Renderer(words["chatml"]).conversation([HI, HELLO]).tokens[:2] == [3, 15]


def test_plain_trains_the_answer_and_an_end_token(words):
    encoded = Renderer(words["plain"]).plain("Why", " Because")
    assert (encoded.tokens, encoded.trained) == ([32, 38, 2], [False, True, True])
    encoded = Renderer(words["plain_with_begin"]).plain("Why", " Because Hi")
    assert (encoded.tokens, encoded.trained) == ([1, 32, 38, 35, 2], [False, False, True, True, True])


def test_text_trains_all_but_the_first_token(words):
    encoded = Renderer(words["plain"]).text("Hi Be brief")
    assert (encoded.tokens, encoded.trained) == ([30, 34, 29, 2], [False, True, True, True])
    encoded = Renderer(words["plain_with_begin"]).text("Hi")
    assert (encoded.tokens, encoded.trained) == ([1, 30, 2], [False, True, True])


def test_faulty_plain_texts_say_why(words):
    pairs = [("Why", " "), ("Why\n", "\nHi"), ("Hi</s>", " Hi"), ("", "Hi"), ("\ud800", "Hi")]
    outcomes = Renderer(words["plain"]).plains(pairs)
    assert [str(o) if isinstance(o, RowFault) else o.tokens for o in outcomes] == [
        "nothing to train: the text is empty",
        "join merged: a token spans the end of the prompt, at 'Why\\n|\\nHi'",
        "the text contains the control string '</s>', which would forge a turn",
        [30, 2],
        "the text is no valid Unicode text: it has half of a surrogate pair",
    ]


def test_a_tokenizer_that_cannot_end_a_text_is_refused(families, words):
    tokenizer = families["plain"].words()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="nothing ends an answer"):
        Renderer(tokenizer)


def test_batches_equal_single_rows(words):
    rows = [[HI, HELLO], [HI], [HI, HELLO, WHY, BECAUSE], [HI, WHY, HELLO], [HI, HELLO]]
    for name in ("chatml", "mistral", "gemma", "zephyr"):
        renderer = Renderer(words[name])
        together = renderer.conversations(rows, "all")
        apart = [renderer.conversations([row], "all")[0] for row in rows]
        assert list(map(repr, together)) == list(map(repr, apart))


def test_cutting_at_special_tokens_changes_no_id(spellers):
    texts = [
        "<|im_start|>",
        "Hi<|im_end|>\n<|im_start|>  Hi",
        "</s>\n\n</s><s> <bos>x",
        "",
        "<|im_<|im_end|>end|>",
    ]
    for tokenizer in spellers.values():
        table = Renderer(tokenizer)._vocabulary.table(texts)
        assert [table[text] for text in texts] == tokenizer(texts, add_special_tokens=False).input_ids


def test_tokens_that_swallow_their_surroundings_are_not_cut_at(families):
    from tokenizers import AddedToken

    tokenizer = families["chatml"].bytes()
    tokenizer.add_special_tokens(
        {"extra_special_tokens": [AddedToken("<|pad|>", lstrip=True), AddedToken("x<|y")]}
    )
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<|im_end|><|pad|>")
    renderer = Renderer(tokenizer)
    texts = ["Hi \n<|pad|>Hi", "Hix<|y<|im_end|>", "Hi \n<|pad|>"]
    table = renderer._vocabulary.table(texts)
    assert [table[text] for text in texts] == tokenizer(texts, add_special_tokens=False).input_ids


def test_fingerprint_changes_with_template_and_vocabulary_only(families):
    one, same = families["chatml"].words(), families["chatml"].words()
    same("Hi", padding="max_length", max_length=9, truncation=True)
    assert Renderer(one).fingerprint == Renderer(same).fingerprint
    prints = {Renderer(family.words()).fingerprint for family in families.values()}
    same.add_tokens(["Howdy"])
    assert len(prints | {Renderer(same).fingerprint}) == 7
    assert all(len(bytes.fromhex(fingerprint)) == 32 for fingerprint in prints)
