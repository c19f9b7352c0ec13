"""CoVe in tasks: the vectors and the top layer, concatenated; or a mix, or one layer, where the settings say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.encoders.coves import small_cove
from tests.encoders.elmos import small_elmo
from tests.tasks.sentences import tagged_sentences
from tests.tasks.test_answering import made_questions
from unfreeze import QuestionAnswerer, SequenceTagger, TextClassifier
from unfreeze.errors import UserError
from unfreeze.tasks.classifier_network import layered_network, pooled_network
from unfreeze.tasks.plans import ClassifierPlan, TaggerPlan, plan, run_identity
from unfreeze.tasks.settings import ClassifierSettings, TaggerSettings
from unfreeze.tasks.word_inputs import WordInputs

TEXTS = ["The cat sat on the mat .", "", "A dog saw the bird", "xyzzy cat"]


@torch.no_grad()
def test_words_are_the_vectors_and_the_top_layer_side_by_side() -> None:
    encoder = small_cove(n_layers=3)
    inputs = WordInputs(encoder, tokenized=True).eval()
    assert inputs.layers == "bottom+top" and inputs.size == 5 + 6 and not inputs.mix_shares()
    words = inputs(TEXTS)
    for text, row in zip(TEXTS, words.inputs, strict=True):
        if text:
            layers, _ = encoder.word_layers(encoder.prepare_words([text.split(" ")]))
            expected = torch.cat([layers[0][0], layers[3][0]], dim=1)
            torch.testing.assert_close(row[: len(expected)], expected)
        assert not row[len(text.split()) :].any()
    # An ELMo's default stays the mix, and a CoVe's layers of unequal widths can be mixed.
    assert WordInputs(small_elmo()).layers == "mix"
    mixed = WordInputs(encoder, layers="mix").eval()
    assert mixed.size == 6 and len(mixed.mix_shares()["input"]) == 4 + 1


@pytest.mark.parametrize("mix_at", ["input", "output", "both"])
@torch.no_grad()
def test_the_concatenated_layers_stand_where_a_mix_would(mix_at: Any) -> None:
    network = layered_network(small_cove(), 2, hidden_size=4, mix_at=mix_at).eval()
    together = network.read(TEXTS)["joint"]
    assert together.shape[1] == 3 * (8 + (11 if mix_at != "input" else 0))
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(network.read([text])["joint"][0], together[row], rtol=1e-4, atol=1e-5)


def test_settings_of_a_mix_need_one() -> None:
    for setting in ({"mix_l2": 0.1}, {"layer_norm": True}):
        with pytest.raises(UserError, match=f"{next(iter(setting))} is for a learned mix: add layers='mix'"):
            WordInputs(small_cove(), **setting)  # type: ignore[arg-type]
        WordInputs(small_cove(), layers="mix", **setting)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="layers is mix, bottom\\+top or the number of a layer, not 'top'"):
        TextClassifier(layers="top")  # type: ignore[arg-type]


def test_all_tasks_read_it_and_remember_how(tmp_path: Path) -> None:
    small_cove().save_pretrained(tmp_path / "cove")
    options: dict[str, Any] = {"encoder": tmp_path / "cove", "hidden_size": 4, "epochs": 1}
    texts = ["the cat sat", "a dog saw the bird"] * 4
    classifier = TextClassifier(body="bilstm", **options).fit(texts, ["cat", "dog"] * 4)
    assert classifier.arguments_["layers"] == "bottom+top"
    pooled = TextClassifier(encoder=tmp_path / "cove").fit(texts, ["cat", "dog"] * 4)
    assert pooled.arguments_["pooling"] == "top+vectors"
    assert pooled.arguments_["head"] == "linear"  # solved on frozen features
    chosen = TextClassifier(body="bilstm", layers="mix", **options).fit(texts, ["cat", "dog"] * 4)
    assert len(chosen.layer_weights["input"]) == 3 + 1
    sentences = tagged_sentences(8)
    tagger = SequenceTagger(**options).fit(
        [list(each.tokens) for each in sentences.examples], [list(each.tags) for each in sentences.examples]
    )
    assert tagger.network.words.layers == "bottom+top"
    questions = made_questions(8).examples
    answerer = QuestionAnswerer(**options).fit(
        [(each.question, each.context) for each in questions],
        [(each.answers[0].text, each.answers[0].start) for each in questions],
    )
    assert answerer.network.words.layers == "bottom+top"
    new = ["the bird saw a dog", "a mat"]
    for number, model in enumerate((classifier, pooled, chosen)):
        model.save_pretrained(tmp_path / f"{number}")
        again = TextClassifier.from_pretrained(tmp_path / f"{number}")
        np.testing.assert_allclose(again.predict_proba(new), model.predict_proba(new), atol=1e-6)
    tagger.save_pretrained(tmp_path / "tagger")
    again = SequenceTagger.from_pretrained(tmp_path / "tagger")
    assert again.network.words.layers == "bottom+top"
    assert again("Ada visits Paris .") == tagger("Ada visits Paris .")


def test_words_that_are_known_by_their_lower_case_form_are_known() -> None:
    encoder = small_cove()
    texts = ["THE CAT", "the cat", "XYZZY", "XYZZY The", "", "."]
    expected = [True, True, False, True, False, True]
    assert (
        encoder.word_id("CAT") != encoder.tokenizer.unknown_id == encoder.tokenizer.encode_ids(["CAT"])[0][1]
    )
    for network in (pooled_network(encoder, 2), layered_network(encoder, 2, hidden_size=4)):
        assert network.body.have_known_words(texts).tolist() == expected


@pytest.mark.parametrize(("head", "is_solved"), [(None, True), ("linear", True), ("maxout", False)])
def test_only_a_linear_head_is_solved(tmp_path: Path, head: Any, is_solved: bool) -> None:
    small_cove().save_pretrained(tmp_path)
    settings = ClassifierSettings(encoder=tmp_path, head=head)
    assert plan(ClassifierPlan, settings).solves_linear_head is is_solved


def test_runs_of_earlier_versions_are_resumed() -> None:
    settings = TaggerSettings(encoder="none")
    identity = run_identity("fit tagger", settings, plan(TaggerPlan, settings), tagged_sentences(4), None)
    assert identity["layers"] == "mix"
