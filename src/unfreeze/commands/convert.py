"""`unfreeze convert`: other people's model files into ours, and word vectors back into theirs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import need_new, need_vector_file
from unfreeze.commands.options import command_line, quoted
from unfreeze.errors import UserError
from unfreeze.folders import read_config
from unfreeze.vectors.fasttext import is_fasttext, read_fasttext

NEXT = {
    "language model": 'unfreeze generate {output} "The"',
    "backward": 'unfreeze score {output} "A text."',
    "classifier": 'unfreeze predict {output} "A text."',
    "encoder": "unfreeze fit classifier --encoder {output} --train FILE --output DIR",
}
"""What one can do with each kind."""

SNIPPETS = {
    "language model": (
        "from unfreeze.language_models.awd_lstm import AwdLstmLanguageModel\n\n"
        'model = AwdLstmLanguageModel.from_pretrained(".")  # this folder'
    ),
    "classifier": (
        "from unfreeze import TextClassifier\n\n"
        'TextClassifier.from_pretrained(".")(["A text."])  # "." is this folder'
    ),
    "encoder": (
        "from unfreeze.encoders.base import Encoder\n\n"
        'encoder = Encoder.from_pretrained(".")  # this folder\n'
        'layers, mask = encoder.layers(encoder.prepare(["A text."]))'
    ),
}
"""Python that runs with each kind, for the model card."""


VECTOR_SNIPPET = (
    "from unfreeze.encoders.vector_source import open_vectors\n\n"
    'vectors = open_vectors(".")  # this folder\n'
    "print(vectors.words[:10])"
)


@dataclass(kw_only=True)
class Convert:
    """Turn a fastai AWD-LSTM or AWD-QRNN (NAME.pth), a published ELMo or a file of word vectors into a folder that unfreeze reads.

    An ELMo is options.json with its --weights, or the folder that both lie in; of any size.

    Vectors go from any format to any other: word2vec text and binary (.bin), GloVe, fastText (.vec, and .bin with its
    n-grams), .npz, and a folder of ours. No code from a file is run: weights are read as tensors, words as plain strings.

    Example:
        unfreeze convert models/imdb_classifier.pth --vocabulary vocab.pkl --labels neg,pos --output imdb
        unfreeze convert elmo_options.json --weights elmo_weights.hdf5 --output elmo
        unfreeze convert glove.6B.100d.txt --output glove
        unfreeze convert my-vectors --output my-vectors.bin
    """

    source: Positional[Path]
    """What fastai's learn.save(NAME, with_opt=False) or learn.save_encoder(NAME) wrote, ELMo's options, or word vectors."""

    output: Path
    """Folder of the model to be; for vectors also a file: .txt, .vec, .bin or .npz, perhaps with .gz."""

    vocabulary: Path | None = None
    """fastai's dls.vocab: .pkl, .json, or text with a token a line."""

    weights: Path | None = None
    """ELMo's HDF5 file; by default the only one beside its options."""

    labels: str | None = None
    """A classifier's labels in the order of its outputs, with commas between."""

    direction: Literal["forward", "backward"] = "forward"
    """How the model reads."""

    overwrite: bool = False
    """Replace a folder that is there."""


def run(arguments: Convert, console: Console) -> None:
    """Convert, and say what it was."""
    from unfreeze.formats.fastai import convert_fastai
    from unfreeze.training.cards import write_card

    labels = [] if arguments.labels is None else [name.strip() for name in arguments.labels.split(",")]
    if "" in labels or len(set(labels)) < len(labels):
        raise UserError(f"--labels {arguments.labels}: names with commas between, none empty or twice")
    need_new(arguments.output, overwrite=arguments.overwrite)
    if _is_bilm(arguments.source):
        return convert_bilm(arguments, console)
    if arguments.weights is not None:
        raise UserError(f"--weights is for ELMo's options.json, which {arguments.source} is not")
    if arguments.source.suffix != ".pth":
        return convert_vectors(arguments, console)
    if arguments.vocabulary is None:
        raise UserError("a .pth of fastai's needs its --vocabulary")
    found = convert_fastai(
        arguments.source, arguments.vocabulary, arguments.output, labels=labels, direction=arguments.direction
    )
    sizes = {name: value for name, value in asdict(found).items() if name not in ("kind", "labels")}
    write_card(
        arguments.output,
        title=f"{found.kind.capitalize()} of fastai, converted",
        facts={"source": arguments.source.name, "command": command_line()},
        metrics=sizes,
        snippet=SNIPPETS[found.kind],
    )
    names = {"labels": list(found.labels)} if found.labels else {}
    console.result({"output": str(arguments.output), **asdict(found), **names})
    console.note(f"the {found.kind} is in {arguments.output}: try `{next_command(found.kind, arguments)}`")


def next_command(kind: str, arguments: Convert) -> str:
    """What can be done with the model that was made."""
    backward = kind == "language model" and arguments.direction == "backward"  # which writes no text
    return NEXT["backward" if backward else kind].format(output=quoted(arguments.output))


def _is_bilm(source: Path) -> bool:
    """Whether it is a published ELMo: its options, or the folder of them."""
    if source.is_dir() and not (source / "config.json").exists():
        return bool(list(source.glob("*options*.json")))
    return source.suffix == ".json"


def _bilm_files(arguments: Convert) -> tuple[Path, Path]:
    """The options and the weights.

    Raises:
        UserError: there are none, or several to choose from.
    """
    folder = arguments.source if arguments.source.is_dir() else arguments.source.parent
    options = sorted(folder.glob("*options*.json")) if arguments.source.is_dir() else [arguments.source]
    weights = [arguments.weights] if arguments.weights else sorted(folder.glob("*weights*.hdf5"))
    for found, what, how in (
        (options, "options", "name the file"),
        (weights, "weights", "name them with --weights"),
    ):
        if len(found) != 1:
            shown = ", ".join(path.name for path in found) or "none"
            raise UserError(f"{folder} has {len(found)} files of ELMo's {what} ({shown}): {how}")
    return options[0], weights[0]


def convert_bilm(arguments: Convert, console: Console) -> None:
    """A published ELMo into a folder of ours."""
    from unfreeze.formats.bilm import read_bilm
    from unfreeze.training.cards import write_card

    if arguments.vocabulary is not None or arguments.labels is not None:
        raise UserError("--vocabulary and --labels are for fastai's .pth files")
    options, weights = _bilm_files(arguments)
    encoder = read_bilm(options, weights)
    encoder.save_pretrained(arguments.output)
    sizes = {name: value for name, value in encoder.arguments().items() if name != "spelling"}
    figures = {"parameters": encoder.n_parameters, **sizes}
    write_card(
        arguments.output,
        title="ELMo, converted",
        facts={"source": f"{options.name}, {weights.name}", "command": command_line()},
        metrics=figures,
        snippet=SNIPPETS["encoder"],
    )
    console.result({"output": str(arguments.output), "kind": "encoder", **figures})
    console.note(f"the encoder is in {arguments.output}: try `{next_command('encoder', arguments)}`")


def _has_ngrams(source: Path) -> bool:
    if source.is_file():
        return is_fasttext(source) and read_fasttext(source).maxn > 0
    return source.is_dir() and bool(read_config(source).get("arguments", {}).get("ngrams"))


def convert_vectors(arguments: Convert, console: Console) -> None:
    """Between files of vectors and folders of ours."""
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.encoders.word_vectors import WordVectors, read_encoder
    from unfreeze.training.cards import write_card
    from unfreeze.vectors.writing import write_word_vectors

    if arguments.vocabulary is not None or arguments.labels is not None:
        raise UserError("--vocabulary and --labels are for fastai's .pth files")
    if arguments.output.suffix:
        need_vector_file(arguments.output)
        table = open_vectors(arguments.source)
        write_word_vectors(arguments.output, table)
        if _has_ngrams(arguments.source):
            console.note("the n-grams are left out, which only a folder holds: unseen words get no vectors")
    else:
        encoder: WordVectors = read_encoder(arguments.source)
        encoder.save_pretrained(arguments.output)
        table = encoder.table()
        write_card(
            arguments.output,
            title="Word vectors, converted",
            facts={"source": arguments.source.name, "command": command_line()},
            metrics={"vocabulary": len(table), "size": table.size},
            snippet=VECTOR_SNIPPET,
        )
    console.result({"output": str(arguments.output), "words": len(table), "size": table.size})
    word = next((word for word in table.words if word.isalnum()), "WORD")
    then = f"unfreeze neighbors {quoted(arguments.output)} {word}"
    console.note(f"the vectors are in {arguments.output}: try `{then}`")
