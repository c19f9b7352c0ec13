"""`unfreeze export`: write models in the formats of other libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new, need_vector_file
from unfreeze.errors import UserError


@dataclass(kw_only=True)
class Export:
    """Write a model in the format of another library.

    An ELMo becomes a folder with options.json and weights.hdf5, from which AllenNLP and bilm-tf compute the same vectors.
    Word vectors become a file in the format of word2vec (.txt, .vec or .bin) or .npz.

    Example:
        unfreeze export my-elmo --output my-elmo-files
        unfreeze export my-vectors --output my-vectors.bin
    """

    model: Positional[str]
    """Model: a folder, a released name, or owner/name on the hub."""

    output: Path
    """Folder to write an ELMo to, or file to write word vectors to."""

    overwrite: bool = False
    """Replace an existing output."""


def run(arguments: Export, console: Console) -> None:
    """Write the files, and print their names or the size of the table."""
    output = arguments.output
    need_new(output, overwrite=arguments.overwrite)
    from unfreeze.encoders.base import Encoder
    from unfreeze.encoders.elmo import Elmo
    from unfreeze.encoders.word_vectors import WordVectors
    from unfreeze.formats.bilm import write_bilm
    from unfreeze.vectors.writing import write_word_vectors

    encoder = Encoder.from_pretrained(arguments.model)
    if isinstance(encoder, Elmo):
        if output.is_file():
            raise UserError(f"--output {output} is a file: an ELMo is exported into a folder")
        files = write_bilm(encoder, output)
        names = [file.name for file in files]
        console.result({"output": str(output), "files": names}, f"{output}: {', '.join(names)}")
    elif isinstance(encoder, WordVectors):
        need_vector_file(output)
        table = encoder.table()
        write_word_vectors(output, table)
        console.result({"output": str(output), "words": len(table), "size": table.size})
    else:
        raise UserError(
            f"{arguments.model} is an encoder of kind {encoder.kind}: export writes an ELMo (to options.json and "
            "weights.hdf5), or word vectors (to .txt, .vec, .bin or .npz)"
        )
