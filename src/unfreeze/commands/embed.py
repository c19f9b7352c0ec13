"""`unfreeze embed`: the vectors of a text's words, or of its lines, as one file."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unfreeze.checked import shown
from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new
from unfreeze.commands.options import ReadsText
from unfreeze.errors import UserError

if TYPE_CHECKING:
    from unfreeze.encoders.features import EmbedSettings
    from unfreeze.encoders.text_encoder import TextEncoder


@dataclass(kw_only=True)
class Embed(ReadsText):
    """The vectors of every word of a text, line by line, by any encoder.

    All layers are written (or one, or their mean), for each word or pooled to one vector a line. The work is streamed: its
    memory does not grow with the text. Run the same command again after an interruption and it goes on. An empty line
    stays an empty row.

    Example:
        unfreeze embed my-elmo sentences.txt --output sentences.parquet
        unfreeze embed my-elmo sentences.txt --output sentences.npz --layers mean --pool mean
        unfreeze embed my-lm sentences.txt --output sentences.hdf5 --layers -1
    """

    encoder: Positional[str]
    """Encoder, language model or word vectors: a folder, a released name, owner/name on the hub, a file of vectors."""

    file: Positional[Path]
    """Text with a line a row; or a column of a table; .gz, .xz and .zst of these."""

    output: Path
    """File to be: .parquet, .npz or .hdf5."""

    layers: str = "all"
    """all, mean, or the number of one, counted from 0; -1 is the last."""

    pool: Literal["mean", "max", "last"] | None = None
    """One vector a line instead of one a word."""

    half: bool = False
    """Store 16 bits a number."""

    tokenized: bool = False
    """Words are what stands between spaces: nothing is split further."""

    cache_words: int = 0
    """ELMo: compute the vectors of so many frequent words of its vocabulary once, and look them up from then on."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Number format; bf16 is faster where the processor has it, auto tries."""

    overwrite: bool = False
    """Replace a file that is there."""

    def __post_init__(self) -> None:
        if self.layers not in ("all", "mean"):
            try:
                int(self.layers)
            except ValueError:
                raise UserError(f"--layers is all, mean or a number, not {shown(self.layers)}") from None
        if self.cache_words < 0:
            raise UserError(f"--cache-words must be at least 0, not {self.cache_words}")


def run(arguments: Embed, console: Console) -> None:
    """Embed, write the file, and say what is in it."""
    from unfreeze.encoders.features import embed_text
    from unfreeze.formats.embedded_files import NPZ_HEAD, write_embedded, writer_for
    from unfreeze.text.examples import stream_texts
    from unfreeze.training.precision import prediction_format

    need_new(arguments.output, overwrite=arguments.overwrite)
    writer_for(arguments.output)
    texts = stream_texts(arguments.file, **arguments.reading)
    encoder = load(arguments.encoder, arguments.cache_words)
    growing = arguments.output.with_name(f".{arguments.output.name}.embedding")
    text = embed_text(
        encoder,
        texts,
        growing,
        make_settings(arguments),
        identity=_identity(arguments),
        head=NPZ_HEAD if arguments.output.suffix == ".npz" else 0,
        number_format=lambda: prediction_format(arguments.precision, next(encoder.parameters()).device),
        progress=console.progress,
    )
    write_embedded(text, arguments.output, progress=console.progress)
    n_rows, n_layers, width = text.vectors.shape
    values = {
        "output": str(arguments.output),
        "lines": text.n_lines,
        "rows": n_rows,
        "layers": n_layers,
        "width": width,
    }
    del text
    shutil.rmtree(growing)
    console.result(values)


def load(name: str, cache_words: int = 0) -> TextEncoder:
    """The encoder of a name or of a file of vectors, perhaps with a cache of token vectors."""
    from unfreeze.encoders.elmo import Elmo
    from unfreeze.encoders.text_encoder import TextEncoder
    from unfreeze.encoders.word_vectors import read_encoder

    if Path(name).is_file():
        return read_encoder(name)
    encoder = TextEncoder.from_pretrained(name)
    if cache_words:
        if not isinstance(encoder, Elmo):
            raise UserError(f"--cache-words is for ELMo: {name} is a {encoder.kind} encoder")
        special = encoder.tokenizer.special_ids
        words = [word for number, word in enumerate(encoder.tokenizer.vocabulary) if number not in special]
        encoder.cache_tokens(words[:cache_words])
    return encoder


def make_settings(arguments: Embed) -> EmbedSettings:
    """What the command line asks for."""
    from unfreeze.encoders.features import EmbedSettings

    return EmbedSettings(
        layers=arguments.layers if arguments.layers in ("all", "mean") else int(arguments.layers),  # type: ignore[arg-type]
        pool=arguments.pool,
        half=arguments.half,
        tokenized=arguments.tokenized,
    )


def _identity(arguments: Embed) -> str:
    """Tells this text and encoder from others, without reading all of them."""
    from unfreeze.registry import weights_digest

    facts = arguments.file.stat()
    parts = [weights_digest(arguments.encoder), facts.st_size, facts.st_mtime_ns, arguments.text_column]
    # What is not as usual, so that runs of versions without these options go on.
    parts += [] if arguments.header is None else [f"header {arguments.header}"]
    parts += [] if arguments.encoding == "utf-8" else [f"encoding {arguments.encoding}"]
    return hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=12).hexdigest()
