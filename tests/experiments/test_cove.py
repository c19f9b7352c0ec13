"""What the experiments with CoVe compare and remember, and the options that they need."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import bank_in_two_sentences, elmo_answers, elmo_tagging
from experiments.cove_tasks import Parts, measured, unknown_share
from experiments.results import Results, with_model
from tests.encoders.coves import small_cove
from unfreeze.tasks.settings import ClassifierSettings
from unfreeze.text.examples import example_set


def test_another_model_is_measured_anew(tmp_path: Path) -> None:
    results, names = Results(tmp_path / "results.jsonl"), []
    for seed in (0, 1, 0):
        small_cove(seed).save_pretrained(tmp_path / "cove")
        found = results.measure(
            "part", with_model("CoVe", str(tmp_path / "cove")), 10, 0, lambda seed=seed: {"f1": seed}
        )
        assert found["f1"] == seed
        options = Namespace(vectors="v", elmo="e", lm=None, cove=str(tmp_path / "cove"))
        names.append([name for name, _ in elmo_tagging.forms(options)])
    assert names[0] == names[2] and len(results.rows) == 2
    # The other forms keep their names, and with them their results.
    changed = [one for one, other in zip(names[0], names[1], strict=True) if one != other]
    assert len(changed) == 1 and changed[0].startswith("CoVe's vectors and top layer (")


def test_unknown_words_are_those_without_a_vector() -> None:
    pairs = example_set([("The CAT sat", "xyzzy sat"), ("a plugh", "cat")], ["yes", "no"])
    assert unknown_share(small_cove(), pairs) == 2 / 8


def test_a_form_is_measured_with_the_share_of_unknown_words(tmp_path: Path) -> None:
    small_cove().save_pretrained(tmp_path)
    texts = ["The cat sat", "a dog xyzzy"] * 3
    examples = example_set([(text, "a mat") for text in texts], ["cat", "dog"] * 3)
    settings = ClassifierSettings(encoder=tmp_path, body="bcn", hidden_size=4, epochs=1)
    for layers in (None, 0):
        found = measured(Parts(examples, examples, examples), replace(settings, layers=layers))
        assert 0 <= found["accuracy"] <= 1 and found["unknown"] == 0.1


@pytest.mark.parametrize(
    ("main", "given", "said"),
    [
        (
            elmo_answers.main,
            "--data d --elmo e --vectors v --runs r --forms words cove",
            "--forms cove needs",
        ),
        (bank_in_two_sentences.main, "--data d", "there is nothing to measure"),
    ],
)
def test_options_that_are_missing(
    main: Callable[[Sequence[str]], None], given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(given.split())
    assert said in capsys.readouterr().err
