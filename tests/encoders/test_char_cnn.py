"""The character CNN by table look-up against the convolution that it stands for, and its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from unfreeze.encoders.layers.char_cnn import CharCnn, CharCnnSettings, Highway
from unfreeze.errors import UserError
from unfreeze.text.characters import frame_rows, spell

words = st.lists(st.text(max_size=20), min_size=1, max_size=6)


def by_convolution(encoder: CharCnn, rows: torch.Tensor) -> torch.Tensor:
    """Embed all places, convolve, take the largest, in float64."""
    embedded = F.embedding(rows.long(), encoder.symbols.double()).transpose(1, 2)
    largest = [F.conv1d(embedded, each.double().permute(2, 1, 0)).amax(2) for each in encoder.filters]
    x = torch.cat(largest, dim=1) + encoder.bias.double()
    x = F.relu(x) if encoder.sizes.activation == "relu" else torch.tanh(x)
    for highway in encoder.highways:
        assert isinstance(highway, Highway)
        gate = torch.sigmoid(x @ highway.carry.weight.double().t() + highway.carry.bias.double())
        new = F.relu(x @ highway.transform.weight.double().t() + highway.transform.bias.double())
        x = gate * new + (1 - gate) * x
    return x @ encoder.projection.weight.double().t() + encoder.projection.bias.double()


@settings(max_examples=40)
@given(
    batch=words,
    longest=st.sampled_from([7, 12, 50]),
    activation=st.sampled_from(["relu", "tanh"]),
    seed=st.integers(0, 9),
)
def test_vectors_and_gradients_are_the_convolutions(
    batch: list[str], longest: int, activation: str, seed: int
) -> None:
    torch.manual_seed(seed)
    filters = [(1, 5), (2, 16), (3, 20), (7, 3)]
    sizes = CharCnnSettings(embedding=3, filters=filters, n_highway=1, longest=longest, activation=activation)  # type: ignore[arg-type]
    encoder = CharCnn(sizes, 4)
    rows = torch.cat([torch.from_numpy(spell(batch, longest)), torch.from_numpy(frame_rows(longest))])
    weights = torch.randn(len(rows), 4)
    found = encoder(rows)
    (found * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad()
    expected = by_convolution(encoder, rows)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    (expected * weights).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4)


def test_the_other_way_is_the_same() -> None:
    """In float64, as on a GPU, it is torch's convolution."""
    encoder = CharCnn(CharCnnSettings(embedding=3, filters=[(2, 5), (3, 4)], n_highway=2), 4)
    rows = torch.from_numpy(spell(["word", "", "größer", "x" * 99]))
    fast = encoder(rows)
    torch.testing.assert_close(encoder.double()(rows).float(), fast, rtol=1e-5, atol=1e-6)


def test_a_word_does_not_depend_on_the_others() -> None:
    encoder = CharCnn(CharCnnSettings(embedding=3, filters=[(1, 4), (3, 20)], n_highway=1), 4)
    rows = torch.from_numpy(spell(["a", "longer", "the longest of all"]))
    together = encoder(rows)
    for row in range(3):
        torch.testing.assert_close(encoder(rows[row : row + 1])[0], together[row])
    torch.testing.assert_close(encoder(rows.flip(0)), together.flip(0))


@pytest.mark.parametrize(
    ("filters", "message"),
    [((), "at least one kind of filter"), (((9, 3),), "width 9"), (((1, 0),), "0 filters")],
)
def test_sizes_that_cannot_work_are_named(filters: tuple[tuple[int, int], ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CharCnnSettings(filters=filters, longest=8)
    with pytest.raises(UserError, match="activation"):
        CharCnnSettings(activation="gelu")  # type: ignore[arg-type]
