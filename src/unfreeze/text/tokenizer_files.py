"""Read a saved tokenizer as the class that wrote it."""

from __future__ import annotations

from pathlib import Path

from unfreeze.checked import need_type, read_json_file
from unfreeze.errors import UserError
from unfreeze.text.cased_words import CasedTokenizer
from unfreeze.text.marked_words import MarkedWordTokenizer
from unfreeze.text.tokenizers import COUNTS, TOKENIZER, SubwordTokenizer, TextTokenizer, WordTokenizer


def load_tokenizer(folder: str | Path) -> TextTokenizer:
    """Read what `TextTokenizer.save` wrote.

    Raises:
        UserError: there is no tokenizer.json, it is damaged, or it is neither word-level nor Unigram.
    """
    path = Path(folder) / TOKENIZER
    model = read_json_file(path)
    counts = _read_counts(Path(folder) / COUNTS)
    try:
        kind = model["model"]["type"]
        if kind == "WordLevel":
            vocabulary = model["model"]["vocab"]
            need_type(vocabulary, dict[str, int], f"{path}: vocab")
            tokens = sorted(vocabulary, key=vocabulary.__getitem__)
            if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
                raise UserError(f"{path}: the ids do not count from 0 on: the file is damaged")
            # In the library's format, framing sentences is a post-processor, and putting spaces back a decoder.
            if model.get("decoder") is not None:
                return MarkedWordTokenizer(tokens, counts)
            return (WordTokenizer if model.get("post_processor") is None else CasedTokenizer)(tokens, counts)
        if kind == "Unigram":
            scored = model["model"]["vocab"]
            need_type(scored, list[tuple[str, float]], f"{path}: vocab")
            return SubwordTokenizer([(token, score) for token, score in scored], counts)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a tokenizer of the library tokenizers: the file is damaged"
        ) from error
    raise UserError(f"{path} holds a {kind} model: unfreeze reads WordLevel and Unigram")


def _read_counts(path: Path) -> list[int] | None:
    """How often each token occurs, where that is known."""
    if not path.is_file():
        return None
    counts = read_json_file(path)
    need_type(counts, list[int], str(path))
    if any(not 0 <= count < 2**63 for count in counts):
        raise UserError(f"{path} holds a number that counts nothing: the file is damaged")
    found: list[int] = counts
    return found
