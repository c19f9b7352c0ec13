"""`unfreeze convert`: models of other libraries into folders that unfreeze reads, and word vectors into any format."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tyro.conf import Positional

from unfreeze.commands.console import Console
from unfreeze.commands.inputs import TRANSLATOR, need_new, need_vector_file, refuse_images
from unfreeze.commands.options import command_line, quoted
from unfreeze.datasets.lines import read_lines
from unfreeze.errors import UserError
from unfreeze.folders import CONFIG, read_config
from unfreeze.vectors.fasttext import is_fasttext, read_fasttext

if TYPE_CHECKING:
    from unfreeze.encoders.cove import CoVe

NEXT = {
    "language model": 'unfreeze generate {output} "The"',
    "backward language model": 'unfreeze score {output} "A text."',  # it cannot generate text
    "classifier": 'unfreeze predict {output} "A text."',
    "image classifier": "unfreeze predict {output} IMAGE",
    "convnet": "unfreeze fit classifier --encoder {output} --train DIR --output DIR",
    "encoder": "unfreeze fit classifier --encoder {output} --train FILE --output DIR",
    "vectors": "unfreeze neighbors {output} {word}",
}
"""For each kind of model, a command to try next."""


class Converted(NamedTuple):
    """A converted model, for the message and for its model card."""

    kind: str
    """A key of `NEXT`."""
    title: str
    """Title of the model card."""
    source: str
    """Names of the files that were converted, for the model card."""
    snippet: str
    """Python code that uses the model, for the model card."""
    metrics: dict[str, Any]
    """Sizes, for the model card."""
    values: dict[str, Any]
    """What the verb prints."""
    word: str = ""
    """For word vectors, a word to suggest in the next command."""


@dataclass(kw_only=True)
class Convert:
    """Convert models of other libraries into a folder that unfreeze reads, and word vectors from any format to any other.

    Models are fastai's AWD-LSTM and AWD-QRNN (NAME.pth with its --vocabulary), published ELMos of any size (options.json with
    its --weights, or the folder with both), the published CoVe (MT-LSTM.pth with the --word-vectors that it reads), and ResNets
    with the names of torchvision, timm or transformers, as .safetensors or .pth. Of a translator of `pretrain cove`, the
    encoder alone is written. Word vectors are in the formats of word2vec (text and .bin), GloVe, fastText (.vec, and .bin with
    its n-grams), .npz, or a folder of unfreeze. No code in these files is run: weights are read as tensors, words as plain
    strings.

    Example:
        unfreeze convert models/imdb_classifier.pth --vocabulary vocab.pkl --labels neg,pos --output imdb
        unfreeze convert elmo_options.json --weights elmo_weights.hdf5 --output elmo
        unfreeze convert MT-LSTM.pth --word-vectors glove.840B.300d.txt --output cove
        unfreeze convert en-de --output en-de-encoder
        unfreeze convert resnet18/model.safetensors --output resnet18
        unfreeze convert glove.6B.100d.txt --output glove
        unfreeze convert my-vectors --output my-vectors.bin
    """

    source: Positional[Path]
    """File of fastai's learn.save(NAME, with_opt=False) or learn.save_encoder(NAME); ELMo's options; weights of CoVe or of a
    ResNet; folder of a translator; or word vectors."""

    output: Path
    """Folder to write the model to; for word vectors also a file: .txt, .vec, .bin or .npz, or .gz of these."""

    vocabulary: Path | None = None
    """fastai: dls.vocab as .pkl, .json, or text with one token per line."""

    weights: Path | None = None
    """ELMo: file of the weights, in HDF5 (default: the only one in the folder of its options)."""

    word_vectors: Path | None = None
    """CoVe: word vectors that the MT-LSTM reads, a file or a folder (GloVe 840B for the published weights)."""

    labels: str | None = None
    """fastai and ResNets: labels of a classifier in the order of its outputs, separated by commas, or a file with one on each line
    (ResNets: by default those of config.json, or numbers from 0)."""

    direction: Literal["forward", "backward"] = "forward"
    """fastai: direction in which the model reads."""

    overwrite: bool = False
    """Replace an existing output."""


def run(arguments: Convert, console: Console) -> None:
    """Convert, write the model card, and print the sizes."""
    from unfreeze.formats.bilm import is_bilm
    from unfreeze.formats.resnet import find_resnet
    from unfreeze.training.cards import write_card

    source, output = arguments.source, arguments.output
    labels = given_labels(arguments.labels)
    need_new(output, overwrite=arguments.overwrite)
    is_elmo, is_cove = is_bilm(source), arguments.word_vectors is not None
    is_fastai = source.suffix == ".pth" and arguments.vocabulary is not None and not is_cove
    is_resnet = not (is_elmo or is_cove or is_fastai) and find_resnet(source) is not None
    if is_cove and source.suffix != ".pth":
        raise UserError(f"--word-vectors is for CoVe's weights, a .pth file, which {source} is not")
    if arguments.weights is not None and not is_elmo:
        raise UserError(f"--weights is for ELMo's options.json, which {source} is not")
    if not is_fastai and arguments.vocabulary is not None:
        raise UserError("--vocabulary is for fastai's .pth files")
    if not (is_fastai or is_resnet) and labels:
        raise UserError("--labels is for classifiers of fastai, .pth files, and for ResNets")
    if not is_fastai and arguments.direction != "forward":
        raise UserError(f"--direction is for fastai's .pth files, and {source} is none")
    if is_elmo:
        made = convert_bilm(source, arguments.weights, output)
    elif is_cove:
        made = convert_mt_lstm(arguments)
    elif is_fastai:
        made = convert_fastai_model(arguments, labels)
    elif is_resnet:
        made = convert_resnet(source, labels, output)
    elif not output.suffix and (source / CONFIG).is_file() and read_config(source)["kind"] == TRANSLATOR:
        made = convert_translator(source, output)
    else:
        made = convert_vectors(source, output, console)
    if output.is_dir():
        facts: dict[str, object] = {"source": made.source, "command": command_line()}
        write_card(output, title=made.title, facts=facts, metrics=made.metrics, snippet=made.snippet)
    console.result({"output": str(output), **made.values})
    name = made.kind.removeprefix("backward ")
    are = "are" if name == "vectors" else "is"
    console.note(f"the {name} {are} in {output}: try `{next_command(made.kind, output, made.word)}`")


def given_labels(given: str | None) -> list[str]:
    """The names in --labels, or in the file that it names.

    Raises:
        UserError: a name is empty or repeated.
    """
    if given is None:
        return []
    listed = Path(given).is_file()
    names = [line.strip() for line in (read_lines(Path(given)) if listed else given.split(","))]
    if "" in names or len(set(names)) < len(names):
        where = "a name on each line" if listed else "names separated by commas"
        raise UserError(f"--labels {given}: {where}, none of them empty or repeated")
    return names


def next_command(kind: str, output: Path, word: str = "") -> str:
    """A command to try with the model."""
    return NEXT[kind].format(output=quoted(output), word=word)


def convert_fastai_model(arguments: Convert, labels: list[str]) -> Converted:
    """A language model, an encoder or a classifier of fastai."""
    from unfreeze.formats.fastai import convert_fastai
    from unfreeze.tasks.text_classifier import SNIPPET as CLASSIFIER_SNIPPET
    from unfreeze.training.cards import ENCODER_SNIPPET, LANGUAGE_MODEL_SNIPPET

    source, vocabulary, direction = arguments.source, arguments.vocabulary, arguments.direction
    assert vocabulary is not None
    found = convert_fastai(source, vocabulary, arguments.output, labels=labels, direction=direction)
    values = asdict(found)
    sizes = {name: value for name, value in values.items() if name not in ("kind", "labels")}
    snippets = {"classifier": CLASSIFIER_SNIPPET, "encoder": ENCODER_SNIPPET}
    backward = "backward " if found.kind == "language model" and direction == "backward" else ""
    snippet = snippets.get(found.kind, LANGUAGE_MODEL_SNIPPET)
    return Converted(
        backward + found.kind,
        f"{found.kind.capitalize()} of fastai, converted",
        source.name,
        snippet,
        sizes,
        values,
    )


def convert_bilm(source: Path, weights: Path | None, output: Path) -> Converted:
    """Convert a published ELMo (bilm-tf, AllenNLP) to a saved encoder."""
    from unfreeze.formats.bilm import find_bilm, read_bilm
    from unfreeze.training.cards import ENCODER_SNIPPET

    files = find_bilm(source, weights)
    encoder = read_bilm(*files)
    encoder.save_pretrained(output)
    sizes = {name: value for name, value in encoder.arguments().items() if name != "spelling"}
    sizes = {"parameters": encoder.n_parameters, **sizes}
    names = ", ".join(path.name for path in files)
    return Converted(
        "encoder", "ELMo, converted", names, ENCODER_SNIPPET, sizes, {"kind": "encoder", **sizes}
    )


def convert_mt_lstm(arguments: Convert) -> Converted:
    """The published CoVe, and the word vectors that it reads."""
    from unfreeze.formats.mt_lstm import read_mt_lstm

    assert arguments.word_vectors is not None
    encoder = read_mt_lstm(arguments.source, arguments.word_vectors)
    encoder.save_pretrained(arguments.output)
    return _converted_cove(
        encoder, "CoVe, converted", f"{arguments.source.name}, {arguments.word_vectors.name}"
    )


def convert_translator(source: Path, output: Path) -> Converted:
    """The encoder of a translator."""
    from unfreeze.encoders.cove import CoVe

    encoder = CoVe.from_pretrained(source)
    encoder.save_pretrained(output)
    return _converted_cove(encoder, "CoVe, the encoder of a translator", source.resolve().name)


def convert_resnet(source: Path, labels: list[str], output: Path) -> Converted:
    """A published residual network: an image classifier, or an encoder of images if it has no classifier."""
    from unfreeze.formats.resnet import NotResNet, find_resnet, read_resnet
    from unfreeze.tasks.image_classifier import SNIPPET as CLASSIFIER_SNIPPET
    from unfreeze.tasks.image_classifier import ImageClassifier
    from unfreeze.training.cards import IMAGE_ENCODER_SNIPPET

    try:
        found = read_resnet(source, labels)
    except NotResNet as error:
        others = "a .pth of fastai's needs its --vocabulary, one of CoVe its --word-vectors"
        raise UserError(f"{error}; {others}" if source.suffix == ".pth" else str(error)) from None
    found.save_pretrained(output)
    is_classifier = isinstance(found, ImageClassifier)
    encoder = found.network.encoder if isinstance(found, ImageClassifier) else found
    sizes = {"parameters": encoder.n_parameters, **encoder.arguments(), "image_size": encoder.processor.size}
    values = {"classes": len(found.label_names), **sizes} if isinstance(found, ImageClassifier) else sizes
    kind = "image classifier" if is_classifier else "convnet"
    title = "Image classifier, a converted ResNet" if is_classifier else "ConvNet, a converted ResNet"
    snippet = CLASSIFIER_SNIPPET if is_classifier else IMAGE_ENCODER_SNIPPET
    path = find_resnet(source)
    assert path is not None
    return Converted(kind, title, path.name, snippet, values, {"kind": kind, **values})


def _converted_cove(encoder: CoVe, title: str, source: str) -> Converted:
    from unfreeze.training.cards import ENCODER_SNIPPET

    sizes = {"vocabulary": len(encoder.tokenizer), "parameters": encoder.n_parameters, **encoder.arguments()}
    return Converted("encoder", title, source, ENCODER_SNIPPET, sizes, {"kind": "encoder", **sizes})


def convert_vectors(source: Path, output: Path, console: Console) -> Converted:
    """Word vectors, into a file if the output has a suffix, else into a folder."""
    from unfreeze.encoders.vector_source import open_vectors
    from unfreeze.encoders.word_vectors import read_encoder
    from unfreeze.training.cards import VECTORS_SNIPPET
    from unfreeze.vectors.writing import write_word_vectors

    refuse_images(source, "it is in the format of unfreeze already, and other formats are for word vectors")
    if output.suffix:
        need_vector_file(output)
        table = open_vectors(source)
        write_word_vectors(output, table)
        if _has_ngrams(source):
            console.note(
                "the n-grams are left out, which only a folder can hold: unseen words get no vectors"
            )
    else:
        encoder = read_encoder(source)
        encoder.save_pretrained(output)
        table = encoder.table()
    word = next((word for word in table.words if word.isalnum()), "WORD")
    metrics, values = (
        {"vocabulary": len(table), "size": table.size},
        {"words": len(table), "size": table.size},
    )
    return Converted(
        "vectors", "Word vectors, converted", source.name, VECTORS_SNIPPET, metrics, values, word
    )


def _has_ngrams(source: Path) -> bool:
    if source.is_file():
        return is_fasttext(source) and read_fasttext(source).maxn > 0
    return source.is_dir() and bool(read_config(source).get("arguments", {}).get("ngrams"))
