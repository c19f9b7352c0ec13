"""`unfreeze export`: our models into other people's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new, need_vector_file
from unfreeze.errors import UserError

KINDS = "an ELMo (to options.json and weights.hdf5), or word vectors (to .txt, .vec, .bin or .npz)"


@dataclass(kw_only=True)
class Export:
    """Write a model into other people's files.

    An ELMo becomes a folder with options.json and weights.hdf5, which AllenNLP and bilm-tf read and give the same vectors
    with. Word vectors become a file of word2vec's or GloVe's formats, or .npz.

    Example:
        unfreeze export my-elmo --output my-elmo-files
        unfreeze export my-vectors --output my-vectors.bin
    """

    model: Positional[str]
    """Model: a folder, a released name, or owner/name on the hub."""

    output: Path
    """Folder to be, for ELMo; file to be, for word vectors."""

    overwrite: bool = False
    """Replace what is there."""


def run(arguments: Export, console: Console) -> None:
    """Write, and say what."""
    need_new(arguments.output, overwrite=arguments.overwrite)
    from unfreeze.encoders.base import Encoder
    from unfreeze.encoders.elmo import Elmo
    from unfreeze.encoders.word_vectors import WordVectors
    from unfreeze.formats.bilm import write_bilm
    from unfreeze.vectors.writing import write_word_vectors

    encoder = Encoder.from_pretrained(arguments.model)
    if isinstance(encoder, Elmo):
        if arguments.output.is_file():
            raise UserError(f"--output {arguments.output} is a file: an ELMo is exported into a folder")
        files = write_bilm(encoder, arguments.output)
        console.result({"output": str(arguments.output), "files": [file.name for file in files]})
    elif isinstance(encoder, WordVectors):
        need_vector_file(arguments.output)
        table = encoder.table()
        write_word_vectors(arguments.output, table)
        console.result({"output": str(arguments.output), "words": len(table), "size": table.size})
    else:
        raise UserError(f"{arguments.model} is a {encoder.kind} encoder: export writes {KINDS}")
