"""Give a language model the vocabulary of the target's text, with the weights of the words that both vocabularies have.

As in the code of Howard & Ruder (2018) and in fastai, a word that the pre-trained vocabulary lacks starts with the mean of all
embeddings and the mean of all biases.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from unfreeze.encoders.awd_lstm import AwdLstm
from unfreeze.encoders.elmo import Elmo
from unfreeze.encoders.layers.output import TiedSoftmax, default_cutoffs
from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel
from unfreeze.language_models.bilm import BiLanguageModel
from unfreeze.text.cased_words import CasedTokenizer
from unfreeze.text.tokenizers import TextTokenizer

logger = logging.getLogger(__name__)


@torch.no_grad()
def transfer_vocabulary(model: AwdLstmLanguageModel, tokenizer: TextTokenizer) -> AwdLstmLanguageModel:
    """A new model over `tokenizer`'s vocabulary with the weights of `model`, matched by word.

    Args:
        model: has a word-level vocabulary.
        tokenizer: tokenizer of the target's text.
    """
    cutoffs = default_cutoffs(len(tokenizer)) if model.cutoffs else ()
    encoder = AwdLstm(tokenizer, **model.encoder.arguments())
    result = AwdLstmLanguageModel(encoder, cutoffs)
    places = [model.tokenizer.id(word) for word in tokenizer.vocabulary]
    known = sum(place is not None for place in places)
    logger.info("%d of the target's %d words are in the pre-trained vocabulary", known, len(places))
    for name in encoder.directions:
        old, new = model.encoder.stack(name), encoder.stack(name)
        for after, before in zip(new.cells, old.cells, strict=True):
            after.load_state_dict(before.state_dict())
        new.embedding.weight.copy_(_rows_by_word(old.embedding.weight, places))
        _move_output(model.output(name), result.output(name), places)
    return result


@torch.no_grad()
def transfer_output_words(model: BiLanguageModel, tokenizer: CasedTokenizer) -> BiLanguageModel:
    """The same for a biLM: its encoder stays the same unless it reads word ids; the output layer has the words of `tokenizer`."""
    encoder = Elmo(tokenizer, **model.encoder.arguments())
    result = BiLanguageModel(encoder, model.output.kind, model.output.n_samples)
    places = [model.tokenizer.id(word) for word in tokenizer.vocabulary]
    own = dict(model.encoder.weights())
    if encoder.char_cnn is None:
        own["words.weight"] = _rows_by_word(own["words.weight"], places)
    encoder.load_weights(own, "the model to adapt")
    result.output.weight.copy_(_rows_by_word(model.output.weight, places))
    _move_output(model.output.layer, result.output.layer, places)
    return result.eval()


def _move_output(before: TiedSoftmax, after: TiedSoftmax, places: list[int | None]) -> None:
    """Copy the biases by word, and the entries of the clusters that both have."""
    after.bias.copy_(_rows_by_word(before.bias[:, None], places)[:, 0])
    shared = min(len(before.cutoffs), len(after.cutoffs))
    after.cluster_weight[:shared] = before.cluster_weight[:shared]
    after.cluster_bias[:shared] = before.cluster_bias[:shared]


def _rows_by_word(rows: Tensor, places: list[int | None]) -> Tensor:
    """(V_old, D) -> (V_new, D): a word's own row, or the mean of all rows."""
    result = rows.mean(dim=0).repeat(len(places), 1)
    new_ids = [new for new, old in enumerate(places) if old is not None]
    old_ids = [old for old in places if old is not None]
    result[new_ids] = rows[old_ids]
    return result
