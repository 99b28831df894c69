"""Encoders: told from causal bases by config.json, read as their own model and tokenizer would."""

from __future__ import annotations

import pytest
import torch
from stepladder.core.bases import base_kind
from stepladder.core.errors import ModelError
from stepladder.core.model.encoder import EncoderEngine, batches_of_like_length
from stepladder.core.types import Encoded, Example
from transformers import AutoModel, AutoTokenizer

TEXTS = ["the car is red", "my house", "the sky looks very quite dull today , which colour is the sea ?"]


@pytest.mark.parametrize(
    "architectures, kind",
    [
        (["LlamaForCausalLM"], "causal"),
        (["GPT2LMHeadModel"], "causal"),
        (["Gemma3ForConditionalGeneration"], "causal"),
        (["BertModel"], "encoder"),
        (["BertForMaskedLM"], "encoder"),
        (["RobertaForSequenceClassification"], "encoder"),
        ([], "causal"),
        (None, "causal"),
    ],
)
def test_a_base_writes_where_its_architecture_has_a_causal_head(architectures, kind):
    assert base_kind({"architectures": architectures}) == kind


def test_pooled_rows_are_those_of_mean_pooling_over_the_attention_mask(load_encoder, encoder_folder):
    """As the sentence-transformers library pools: sum of masked states over the number of unmasked ones."""
    base = load_encoder()
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert batch["attention_mask"].sum(1).tolist() == [6, 4, 16]
    with torch.no_grad():
        states = AutoModel.from_pretrained(encoder_folder).eval()(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None].float()
    expected = (states * mask).sum(1) / mask.sum(1)
    sequences = base.renderer.sequences(TEXTS)
    found = {index: state.mean(0) for group in base.engine.last_states(sequences) for index, state in group}
    assert torch.allclose(torch.stack([found[index] for index in range(3)]), expected, atol=1e-6)
    layers = dict(base.engine.hidden_states(sequences))
    assert layers[0].shape == (3, 6, 32)
    assert torch.allclose(layers[2][-1].mean(0), expected[2], atol=1e-6)


def test_company_and_padding_change_nothing(load_encoder):
    base = load_encoder()
    sequences = base.renderer.sequences(TEXTS)
    together = dict(base.engine.hidden_states(sequences))
    for index, sequence in enumerate(sequences):
        ((_, alone),) = base.engine.hidden_states([sequence])
        assert torch.allclose(together[index], alone, atol=1e-6)


def test_batches_hold_rows_of_like_length():
    sequences = [[1] * length for length in (5, 1, 9, 2, 2)]
    assert list(batches_of_like_length(sequences, max_tokens=6)) == [[1, 3, 4], [0], [2]]


def test_an_encoder_reads_the_row_alone_dressed_and_cut_to_its_context(load_encoder, base):
    encoder, example = load_encoder(), Example("1", "the car", "red")
    assert encoder.kind == "encoder" and isinstance(encoder.engine, EncoderEngine)
    dressed = ["[CLS]", "the", "car", "[SEP]"]
    (tokens,) = encoder.read([example], "which colour is the car ?")
    assert encoder.renderer.tokenizer.convert_ids_to_tokens(tokens) == dressed
    (long,) = encoder.read([Example("2", "car " * 99, "red")], "")
    assert len(long) == 64
    assert encoder.renderer.tokenizer.convert_ids_to_tokens(long[-2:]) == ["car", "[SEP]"]
    (read,) = base.read([example], "which colour")
    assert base.renderer.tokenizer.decode(read) == "the car\n\nwhich colour"


def test_an_encoder_predicts_no_tokens(load_encoder):
    rows = [Encoded([5, 6], [False, True])]
    with pytest.raises(ModelError, match="BertModel is an encoder"):
        load_encoder().engine.log_probabilities(rows)
    with pytest.raises(ModelError, match="BertModel is an encoder"):
        load_encoder().engine.losses(rows)
