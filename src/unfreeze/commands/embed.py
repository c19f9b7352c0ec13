"""`unfreeze embed`: the vectors of a text's words, or of its lines, as one file."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new, refuse_images
from unfreeze.commands.options import PredictionOptions, ReadsText
from unfreeze.encoders.feature_settings import EmbedSettings
from unfreeze.errors import UserError, setting


@dataclass(kw_only=True)
class Embed(ReadsText, PredictionOptions):
    """Write the vectors of every word of a text, line by line, by any encoder of text.

    Memory does not grow with the text. Rerun the command to resume an interrupted run. An empty line gives an empty row.

    Example:
        unfreeze embed my-elmo sentences.txt --output sentences.parquet
        unfreeze embed my-elmo sentences.txt --output sentences.npz --layers mean --pool mean
        unfreeze embed my-lm sentences.txt --output sentences.hdf5 --layers -1
    """

    encoder: Positional[str]
    """Encoder, language model or word vectors: a folder, a released name, owner/name on the hub, or a file of word vectors."""

    file: Positional[Path]
    """Text file whose lines are embedded, or a table; also compressed as .gz, .xz or .zst."""

    output: Path
    """File to write: .parquet, .npz or .hdf5."""

    settings: EmbedSettings = field(default_factory=EmbedSettings)
    """Which vectors are computed."""

    cache_words: int = 0
    """ELMo: compute the vectors of this number of frequent words of its vocabulary once, and look them up afterwards."""

    def __post_init__(self) -> None:
        if self.cache_words < 0:
            raise UserError(f"{setting('cache_words')} must be at least 0, not {self.cache_words}")


def run(arguments: Embed, console: Console) -> None:
    """Embed the text, write the file, and print its shape."""
    from unfreeze.encoders.elmo import Elmo
    from unfreeze.encoders.features import embed_text
    from unfreeze.encoders.word_vectors import open_encoder
    from unfreeze.formats.embedded_files import NPZ_HEAD, write_embedded, writer_for
    from unfreeze.text.examples import stream_texts
    from unfreeze.training.precision import prediction_format

    output = arguments.output
    need_new(output, overwrite=arguments.overwrite)
    writer_for(output)  # raises UserError for a name that no format has
    refuse_images(
        arguments.encoder,
        "embed reads texts; in Python, Encoder.from_pretrained(...).encode(images) gives their vectors",
    )
    texts = stream_texts(arguments.file, **arguments.reading)
    encoder = open_encoder(arguments.encoder)
    if arguments.cache_words:
        if not isinstance(encoder, Elmo):
            raise UserError(
                f"--cache-words is for ELMo: {arguments.encoder} is an encoder of kind {encoder.kind}"
            )
        ids = encoder.tokenizer.word_ids[: arguments.cache_words]
        encoder.cache_tokens(encoder.tokenizer.token(number) for number in ids)
    unfinished = output.with_name(f".{output.name}.embedding")
    text = embed_text(
        encoder,
        texts,
        unfinished,
        arguments.settings,
        identity=_identity(arguments),
        head=NPZ_HEAD if output.suffix == ".npz" else 0,
        number_format=lambda: prediction_format(arguments.precision, next(encoder.parameters()).device),
        progress=console.progress,
    )
    write_embedded(text, output, progress=console.progress)
    n_rows, n_layers, width = text.vectors.shape
    shape = {"lines": text.n_lines, "rows": n_rows, "layers": n_layers, "width": width}
    del text  # closes the memory-mapped vectors
    shutil.rmtree(unfinished)
    console.result({"output": str(output), **shape})


def _identity(arguments: Embed) -> str:
    """Tells this text and encoder from others without reading all of the text."""
    from unfreeze.registry import weights_digest

    facts = arguments.file.stat()
    parts = [weights_digest(arguments.encoder), facts.st_size, facts.st_mtime_ns, arguments.text_column]
    # Defaults are left out, so that runs of versions without these options can be resumed.
    parts += [] if arguments.header is None else [f"header {arguments.header}"]
    parts += [] if arguments.encoding == "utf-8" else [f"encoding {arguments.encoding}"]
    return hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=12).hexdigest()
