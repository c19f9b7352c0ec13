"""The LSTM stack against torch.nn.LSTM, and what its dropouts do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.language_models.models import NO_DROPOUT
from unfreeze.encoders.layers.cell_settings import CellSettings
from unfreeze.encoders.layers.dropouts import VariationalDropout, drop_weight, embed_with_dropout
from unfreeze.encoders.layers.recurrent import Dropouts, RecurrentStack, WeightDropLstm, detached
from unfreeze.errors import UserError


def make_stack(dropouts: Dropouts = NO_DROPOUT) -> RecurrentStack:
    torch.manual_seed(0)
    return RecurrentStack(nn.Embedding(20, 6), hidden_size=8, output_size=6, n_layers=3, dropouts=dropouts)


def test_one_layer_equals_torch_lstm() -> None:
    torch.manual_seed(0)
    ours, theirs = WeightDropLstm(5, 7, weight_dropout=0.0), nn.LSTM(5, 7)
    ours.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in theirs.state_dict().items()})
    x = torch.randn(11, 3, 5)
    expected, (h, c) = theirs(x)
    found, (found_h, found_c) = ours(x, None)
    for got, wanted in ((found, expected), (found_h, h), (found_c, c)):
        torch.testing.assert_close(got, wanted)


def test_state_carried_over_pieces_equals_one_piece() -> None:
    stack = make_stack().eval()
    ids = torch.randint(0, 20, (12, 2))
    whole = stack(ids)
    first = stack(ids[:5])
    second = stack(ids[5:], detached(first.state))
    torch.testing.assert_close(torch.cat([first.top, second.top]), whole.top)


def test_layers_are_undropped_and_top_is_dropped() -> None:
    stack = make_stack(Dropouts(embedding=0.0, input=0.0, hidden=0.0, weight=0.0, output=0.5)).train()
    output = stack(torch.randint(0, 20, (4, 2)))
    assert [layer.shape[2] for layer in output.layers] == stack.widths == [6, 8, 8, 6]
    kept = output.top != 0
    assert 0 < kept.float().mean() < 1
    torch.testing.assert_close(output.top[kept], output.layers[-1][kept] * 2)


def test_variational_dropout_has_one_mask_for_all_times() -> None:
    torch.manual_seed(0)
    x = torch.ones(9, 4, 50)
    dropped = VariationalDropout(0.5).train()(x)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(VariationalDropout(0.5).eval()(x), x)


def test_embedding_dropout_drops_whole_words_everywhere() -> None:
    torch.manual_seed(0)
    ids = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    vectors = embed_with_dropout(ids, torch.ones(5, 8), 0.5, training=True)
    per_word = {word: vectors[ids == word] for word in range(1, 5)}
    for rows in per_word.values():
        assert torch.equal(rows, rows[:1, :1].expand_as(rows))
    assert {float(rows[0, 0]) for rows in per_word.values()} <= {0.0, 2.0}


def test_weight_dropout_drops_recurrent_weights_in_training_only() -> None:
    torch.manual_seed(0)
    weight = torch.ones(100, 100)
    dropped = drop_weight(weight, 0.2, training=True, dtype=torch.float32)
    assert abs(float((dropped == 0).float().mean()) - 0.2) < 0.02
    assert torch.equal(drop_weight(weight, 0.2, training=False, dtype=torch.float32), weight)
    lstm = WeightDropLstm(4, 4, weight_dropout=0.5)
    x = torch.randn(6, 2, 4)
    assert not torch.equal(lstm.train()(x, None)[0], lstm(x, None)[0])
    assert torch.equal(lstm.eval()(x, None)[0], lstm(x, None)[0])


def test_dropouts_scale_and_are_checked() -> None:
    assert Dropouts().times(0.5) == Dropouts(
        embedding=0.01, input=0.125, hidden=0.075, weight=0.1, output=0.05
    )
    with pytest.raises(UserError, match="dropout_scale 5 makes the input dropout 1.25"):
        Dropouts().times(5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "gru"}, "unknown cell 'gru': use lstm or qrnn"),
        ({"windows": (2, 1)}, "are for QRNNs"),
        ({"zoneout": 0.1}, "are for QRNNs"),
        ({"kind": "qrnn", "windows": (2, 0)}, "windows must be at least 1, not 2 0"),
        ({"kind": "qrnn", "windows": (), "zoneout": 1.0}, "zoneout must be .* got 1.0"),
        ({"kind": "qrnn", "zoneout": float("nan")}, "zoneout must be .* got nan"),
    ],
)
def test_cells_are_checked_before_a_layer_is_made(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        CellSettings(**settings)


def test_layer_groups_hold_every_parameter_once() -> None:
    stack = make_stack()
    grouped = [id(p) for group in stack.layer_groups() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in stack.parameters())
    assert len(stack.layer_groups()) == 4
