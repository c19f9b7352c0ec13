"""Any language model: found by its name, scored, filled, continued and measured in the same way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from unfreeze.checked import need_concrete
from unfreeze.errors import UserError, column_of, need_texts
from unfreeze.folders import read_config
from unfreeze.language_models.base import Fills, Generates, MeasuresPerplexity, Scores, need
from unfreeze.language_models.fill import GapWord, fill_gap
from unfreeze.language_models.generate import stream_text
from unfreeze.language_models.perplexity import Perplexity, measure_documents
from unfreeze.language_models.score import TextScore, score_texts
from unfreeze.language_models.settings import SamplingSettings
from unfreeze.registry import TASKS, HubOptions, find_model, model_class, push_to_hub


class LanguageModel(Scores, MeasuresPerplexity):
    """A language model of any kind.

    `from_pretrained` returns the class that the saved model has.

    Example:
        >>> from unfreeze.language_models.model import LanguageModel
        >>> model = LanguageModel.from_pretrained("wiki-small")
        >>> [word.word for word in model.fill("the United ___ of America", top=1)]
        ['states']
    """

    kind: ClassVar[str]
    """The name of this kind of model in config.json."""
    described: ClassVar[str] = "a language model"
    """What messages call a model of this kind."""
    made_by: ClassVar[str] = "`unfreeze pretrain lm`"
    """The command that trains one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        need_concrete(cls)
        return super().__new__(cls)

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Log-probabilities of texts and of each of their tokens, in nats.

        Args:
            texts: raw texts; no text affects another's score.

        Returns:
            One score a text, in order; each has the directions of the model.

        Example:
            >>> from unfreeze.language_models.model import LanguageModel
            >>> model = LanguageModel.from_pretrained("wiki-small")
            >>> in_order, shuffled = model.score(["He was born in London.", "He was born London in."])
            >>> in_order.directions["forward"].log_probability > shuffled.directions["forward"].log_probability
            True
        """
        texts = column_of(texts)
        need_texts(texts, "texts")
        return score_texts(self, texts)

    def fill(self, text: str, *, top: int = 10, candidates: Sequence[str] | None = None) -> list[GapWord]:
        """Rank the words that may fill the gap ___ of a text, most probable first.

        Args:
            text: with one gap.
            top: number of words to return.
            candidates: return these words instead; their probabilities remain those among all words.

        Raises:
            UserError: the text has no gap or several, a candidate is not in the vocabulary, or the model cannot fill gaps.

        Example:
            >>> from unfreeze.language_models.model import LanguageModel
            >>> model = LanguageModel.from_pretrained("wiki-small")
            >>> [word.word for word in model.fill("He was born in the ___ of London.", candidates=["moon", "city"])]
            ['city', 'moon']
        """
        need_texts([text], "texts")
        if not isinstance(top, Integral) or top < 0:
            raise UserError(f"top is a number of words, at least 0, not {top!r}")
        if candidates is not None:
            candidates = column_of(candidates, "candidates")
            need_texts(candidates, "candidates")
        return fill_gap(need(self, Fills), text, top=top, candidates=candidates)

    def generate(
        self,
        prompt: str,
        *,
        tokens: int = 100,
        temperature: float = 1.0,
        top_k: int = 0,
        seed: int = 0,
        stop_at_document_end: bool = True,
    ) -> str:
        """The prompt and its continuation.

        Args:
            tokens: maximum number of tokens to draw; marks such as "the next word is capitalized" count.
            temperature: below 1 favors probable tokens, 0 always takes the most probable one.
            top_k: draw from this number of most probable tokens; 0 draws from all.
            seed: seed of the random draws.
            stop_at_document_end: stop where the model begins a new document; otherwise that is never drawn.

        Raises:
            UserError: a number is out of range, or the model cannot generate text.

        Example:
            >>> from unfreeze.language_models.model import LanguageModel
            >>> model = LanguageModel.from_pretrained("wiki-small")
            >>> model.generate("The river", tokens=5, temperature=0).startswith("The river")
            True
        """
        need_texts([prompt], "prompts")
        settings = SamplingSettings(
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            stop_at_document_end=stop_at_document_end,
        )
        return prompt + "".join(stream_text(need(self, Generates), prompt, settings))

    def perplexity(self, texts: Sequence[str]) -> Perplexity:
        """Perplexity and bits per byte of texts, each read as a document of its own.

        Perplexities of models with different vocabularies do not compare; bits per byte do.

        Raises:
            UserError: there are no texts.

        Example:
            >>> from unfreeze.language_models.model import LanguageModel
            >>> found = LanguageModel.from_pretrained("wiki-small").perplexity(["The river is cold."])
            >>> found.n_tokens
            6
        """
        found = column_of(texts)
        need_texts(found, "texts")
        if not found:
            raise UserError("there are no texts to measure the perplexity of")
        return measure_documents(self, lambda: found)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write everything that `from_pretrained` needs into `folder`, whole or not at all."""
        raise NotImplementedError

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the model to the repository owner/name on the Hugging Face hub, which is made if needed.

        Returns:
            The address of the commit.

        Raises:
            UserError: the hub refused, or could not be reached.
        """
        return push_to_hub(self.save_pretrained, repo_id, private=private, token=token)

    @classmethod
    @abstractmethod
    def load_folder(cls, folder: Path, config: dict[str, Any]) -> Self:
        """Load a model of this class from a folder that has this config.json."""

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, **hub: Unpack[HubOptions]) -> Self:
        """Load a language model, in evaluation mode and fp32.

        Args:
            name_or_dir: a folder, the name of a released model, or owner/name on the hub.
            hub: `revision`, `cache_dir`, `token` and `local_files_only`, as in `huggingface_hub.snapshot_download`.

        Raises:
            UserError: there is no such model, it is not a language model of this class, or its folder is incomplete, damaged
                or newer.
        """
        folder = find_model(name_or_dir, **hub)
        found = language_model_class(folder, str(name_or_dir))
        if not issubclass(found, cls):
            raise UserError(f"{name_or_dir} is {found.described}; a model of {cls.made_by} is needed here")
        return found.load_folder(folder, read_config(folder))


def language_model_class(folder: Path, name: str) -> type[LanguageModel]:
    """The class of the language model that a folder holds.

    Args:
        name: what messages call the model.

    Raises:
        UserError: it is not a language model; the message says what it is and what to do.
    """
    config = read_config(folder)
    kind, found = config["kind"], model_class(config, folder)
    if kind in TASKS:
        article = "an" if kind[0] in "aeiou" else "a"
        raise UserError(
            f"{name} is {article} {kind.replace('_', ' ')}, not a language model: use {found.used_by}"
        )
    if not issubclass(found, LanguageModel):
        what = "word vectors" if kind == "word_vectors" else "an encoder without an output layer"
        raise UserError(f"{name} holds {what}, not a language model: train one with `unfreeze pretrain lm`")
    assert isinstance(found, type)
    return found
