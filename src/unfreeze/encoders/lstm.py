"""The rung "from scratch": random word vectors and a biLSTM that learn only from the labels of the task.

Its two directions are two one-direction LSTMs over one embedding, so that it runs over documents of any length in
bounded memory like AWD-LSTM does, and right padding never reaches a real position.
"""

from __future__ import annotations

from torch import nn

from unfreeze.encoders.awd_lstm import StackedEncoder
from unfreeze.encoders.directions import module_name
from unfreeze.encoders.layers.cell_settings import need_layers
from unfreeze.encoders.layers.recurrent import Dropouts, RecurrentStack
from unfreeze.text.tokenizers import TextTokenizer

SCRATCH_DROPOUTS = Dropouts(embedding=0.1, input=0.3, hidden=0.2, weight=0.2, output=0.3)


class LstmEncoder(StackedEncoder):
    """Random embedding and a biLSTM.

    Args:
        tokenizer: its length is V.
        embedding_size: E.
        hidden_size: of each direction.
        n_layers: LSTMs a direction.
    """

    kind = "lstm"

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        embedding_size: int = 100,
        hidden_size: int = 128,
        n_layers: int = 1,
        dropouts: Dropouts | None = None,
    ) -> None:
        super().__init__()
        need_layers(n_layers)
        self.processor = tokenizer
        self.shared = True
        self._arguments = {"embedding_size": embedding_size, "hidden_size": hidden_size, "n_layers": n_layers}
        embedding = nn.Embedding(len(tokenizer), embedding_size)
        self.stacks = nn.ModuleDict(
            {
                module_name(name): RecurrentStack(
                    embedding,
                    hidden_size=hidden_size,
                    output_size=hidden_size,
                    n_layers=n_layers,
                    dropouts=dropouts or SCRATCH_DROPOUTS,
                )
                for name in ("forward", "backward")
            }
        )
