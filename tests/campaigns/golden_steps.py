"""What golden.py runs: made-up data, and command lines that use every verb on every kind of model.

The options have the names of the commit at which the recording was made; `renamed.json` says what they are called today.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

from tests.campaigns.golden_images import IMAGE_STEPS, make_images

PEOPLE = ["Ada", "Grace", "Alan", "Ada Lovelace", "Grace Hopper", "Kurt"]
PLACES = ["Paris", "London", "New York", "Oslo"]
ACTIONS = ["visits", "likes", "leaves"]

SENTENCES = [
    "The film was a joy from beginning to end.",
    "We sat on the bank of the river.",
    "The bank was closed on Monday, so we had no money.",
    "I don't think the acting was bad at all.",
    "In 1969 the first men walked on the moon.",
    "She said that it cost $3,500.50 - too much!",
    "Ada Lovelace lives in New York.",
    "Why does nobody read the manual?",
    "Öffnen Sie die Tür, bitte: zyxomma.",
    "The the the.",
]


def make_data(folder: Path) -> None:
    """The files that the command lines read; the same in every run."""
    from unfreeze.generated import movie_reviews, plain_text, product_reviews

    films = movie_reviews(220, seed=1)
    _lines(folder / "texts.txt", [each.text for each in films[:120]] + plain_text(30, seed=2))
    _lines(folder / "more.txt", [each.text for each in product_reviews(60, seed=3)])
    _lines(folder / "held-out.txt", [each.text for each in movie_reviews(8, seed=4)])
    _lines(folder / "sentences.txt", SENTENCES)
    _table(folder / "train.csv", ((each.text, each.label) for each in films[120:170]))
    _table(folder / "test.csv", ((each.text, each.label) for each in films[170:195]))
    lengths = (
        (each.text, f"{each.label}|{'long' if len(each.text) > 300 else 'short'}") for each in films[195:]
    )
    _table(folder / "many.csv", lengths)
    (folder / "train.conll").write_text(_tagged(40, seed=5), encoding="utf-8")
    (folder / "test.conll").write_text(_tagged(15, seed=6), encoding="utf-8")
    (folder / "train.json").write_text(_questions(40, seed=7), encoding="utf-8")
    (folder / "test.json").write_text(_questions(12, seed=8), encoding="utf-8")
    words = "film story acting river bank water good bad dull great man woman king queen Ada Grace visits likes London Paris".split()
    numbers = Random("vectors")
    rows = [" ".join([word, *(f"{numbers.uniform(-1, 1):.4f}" for _ in range(6))]) for word in words]
    _lines(folder / "table.txt", [f"{len(words)} 6", *rows])
    (folder / "sets").mkdir()
    pairs = [
        ("film", "story", 7.5),
        ("river", "bank", 6),
        ("good", "bad", 4),
        ("film", "river", 0.5),
        ("the", "a", 5),
    ]
    _lines(folder / "sets" / "pairs.tsv", [f"{a}\t{b}\t{score}" for a, b, score in pairs])
    analogies = [": family", "man woman king queen", "king queen man woman", ": sign", "the a film story"]
    _lines(folder / "sets" / "questions-words.txt", analogies)
    numbers = Random("pairs")
    words = {"the": "der", "man": "Mann", "dog": "Hund", "sees": "sieht", "likes": "mag", "bank": "Bank"}
    texts = [
        f"the {numbers.choice(('man', 'dog', 'bank'))} {numbers.choice(('sees', 'likes'))} the {numbers.choice(('man', 'dog'))}"
        for _ in range(80)
    ]
    _lines(folder / "pairs.en", texts)
    _lines(folder / "pairs.de", (" ".join(words[word] for word in text.split()) for text in texts))
    make_images(folder)


def _lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def _tagged(count: int, seed: int) -> str:
    """Sentences such as "Ada Lovelace visits New York ." in CoNLL's columns."""
    random, parts = Random(seed), []
    for _ in range(count):
        for kind, words in (
            ("PER", random.choice(PEOPLE)),
            ("", random.choice(ACTIONS)),
            ("LOC", random.choice(PLACES)),
            ("", "."),
        ):
            for number, word in enumerate(words.split()):
                tag = f"{'I' if number else 'B'}-{kind}" if kind else "O"
                parts.append(f"{word} X {tag}\n")
        parts.append("\n")
    return "".join(parts)


def _questions(count: int, seed: int) -> str:
    """Questions such as "Who likes Ada?" about "Yesterday Kurt likes Ada .", as SQuAD has them."""
    random, paragraphs = Random(seed), []
    for number in range(count):
        subject, other = random.sample(PEOPLE, 2)
        action = random.choice(ACTIONS)
        context = f"{'Yesterday ' * random.randrange(3)}{subject} {action} {other} ."
        answer = {"text": subject, "answer_start": context.index(subject)}
        asked = {"id": str(number), "question": f"Who {action} {other}?", "answers": [answer]}
        paragraphs.append({"context": context, "qas": [asked]})
    return json.dumps({"version": "1.1", "data": [{"title": "made", "paragraphs": paragraphs}]})


_FP32 = "--precision fp32"
_W2V = "pretrain word2vec --corpus texts.txt --size 12 --epochs 2 --min-count 2 --workers 1 --output"
_LM = (
    "pretrain lm --corpus texts.txt --preset tiny --embedding-size 12 --hidden-size 16 --batch-size 8 --bptt 25 --epochs 1 "
    f"--min-count 2 {_FP32}"
)
_ELMO = (
    "pretrain elmo --corpus texts.txt --preset tiny --size 12 --cells 16 --batch-size 8 --bptt 12 --epochs 1 --min-count 2 "
    f"{_FP32}"
)
_ADAPT = f"--corpus more.txt --epochs 1 --batch-size 8 --bptt 25 --min-count 2 {_FP32}"
_FIT = f"fit classifier --train train.csv --validation test.csv {_FP32}"
_TAG = f"fit tagger --train train.conll --validation test.conll --epochs 3 --hidden-size 8 --characters 6 {_FP32}"
_ANSWER = f"fit answerer --train train.json --validation test.json --epochs 2 --hidden-size 8 --characters 6 {_FP32}"

STEPS = {
    # Language models and vectors
    "ngram": "pretrain ngram --corpus texts.txt --order 3 --output ngram",
    "ngram-subword": "pretrain ngram --corpus texts.txt --validation held-out.txt --order 2 --tokenizer subword "
    "--vocabulary-size 300 --output ngram-subword",
    "w2v": f"{_W2V} w2v",
    "w2v-cbow": f"{_W2V} w2v-cbow --architecture cbow --seed 3",
    "w2v-hierarchical": f"{_W2V} w2v-hierarchical --hierarchical --window 3",
    "w2v-cbow-hierarchical": f"{_W2V} w2v-cbow-hierarchical --architecture cbow --hierarchical",
    "w2v-ngrams": f"{_W2V} w2v-ngrams --ngrams 3 4 --buckets 400",
    "w2v-cbow-ngrams": f"{_W2V} w2v-cbow-ngrams --architecture cbow --ngrams 3 3 --buckets 200",
    "w2v-phrases": f"{_W2V} w2v-phrases --phrases 1 --phrase-threshold 3",
    "w2v-wide": f"{_W2V} w2v-wide --window 20 --subsample 1e-4 --negatives 8 --rate 0.05 --without-output",
    "glove": "pretrain glove --corpus texts.txt --size 12 --epochs 4 --min-count 2 --x-max 10 --workers 1 --output glove",
    "elmo": f"{_ELMO} --output elmo",
    "elmo-words": f"{_ELMO} --read words --softmax full --no-skip-connections --layers 1 --output elmo-words",
    "elmo-sampled": f"{_ELMO} --softmax sampled --samples 64 --optimizer adagrad --dropout 0.2 --output elmo-sampled",
    "lm": f"{_LM} --output lm",
    "lm-both": f"{_LM} --direction both --softmax full --dropout-scale 0.5 --output lm-both",
    "lm-qrnn": f"{_LM} --direction both --cell qrnn --windows 2 2 --zoneout 0.1 --output lm-qrnn",
    "lm-subword": f"{_LM} --direction backward --tokenizer subword --vocabulary-size 400 --validation held-out.txt "
    "--optimizer nt-asgd --rate 1 --output lm-subword",
    "lm-vectors": f"{_LM} --word-vectors w2v --cell qrnn --layers 3 --seed 5 --output lm-vectors",
    "lm-encoder": f"{_LM} --without-output --output lm-encoder",
    "again-lm": f"{_LM} --output lm",
    "another-lm": f"{_LM} --seed 9 --output lm",
    "adapt-lm": f"adapt lm {_ADAPT} --output adapt-lm",
    "adapt-both": f"adapt lm-both {_ADAPT} --epochs 3 --gradual --discriminative 2 --schedule cosine --output adapt-both",
    "adapt-qrnn": f"adapt lm-qrnn {_ADAPT} --no-new-vocabulary --dropout-scale 0.1 --output adapt-qrnn",
    "adapt-elmo": f"adapt elmo {_ADAPT} --output adapt-elmo",
    "adapt-w2v": "adapt w2v --corpus more.txt --epochs 1 --min-count 2 --output adapt-w2v",
    "adapt-ngrams": "adapt w2v-ngrams --corpus more.txt --min-count 2 --rate 0.01 --output adapt-ngrams",
    # Classifiers
    "c-scratch": f"{_FIT} --encoder none --epochs 2 --embedding-size 10 --hidden-size 8 --output c-scratch",
    "c-scratch-awd": f"{_FIT} --encoder none --architecture awd-lstm --epochs 2 --embedding-size 10 --hidden-size 8 "
    "--pooling top --output c-scratch-awd",
    "c-frozen": f"{_FIT} --encoder lm --transfer frozen --output c-frozen",
    "c-frozen-two-layer": f"{_FIT} --encoder lm-qrnn --transfer frozen --head two-layer --epochs 2 --rate 0.01 "
    "--output c-frozen-two-layer",
    "c-tuned": f"{_FIT} --encoder adapt-lm --epochs 3 --output c-tuned",
    "c-tuned-both": f"{_FIT} --encoder lm-both --epochs 2 --no-gradual --pooling top+vectors --schedule cosine "
    "--discriminative 1.5 --no-keep-best --output c-tuned-both",
    "c-released": f"{_FIT} --labels 20 --transfer frozen --output c-released",
    "c-from-classifier": f"{_FIT} --encoder c-tuned --epochs 1 --rate 1e-3 --output c-from-classifier",
    "c-beside": f"{_FIT} --encoder lm --transfer frozen --word-vectors table.txt --epochs 2 --rate 0.05 --output c-beside",
    "c-mean": f"{_FIT} --encoder w2v --output c-mean",
    "c-mean-tuned": f"{_FIT} --encoder w2v-ngrams --transfer fine-tune --epochs 2 --output c-mean-tuned",
    "c-file": f"{_FIT} --encoder table.txt --vocabulary both --transfer fine-tune --epochs 2 --output c-file",
    "c-bilstm": f"{_FIT} --encoder w2v --body bilstm --epochs 2 --hidden-size 8 --output c-bilstm",
    "c-bilstm-frozen": f"{_FIT} --encoder glove --body bilstm --transfer frozen --epochs 2 --hidden-size 8 "
    "--vocabulary vectors --output c-bilstm-frozen",
    "c-elmo": f"{_FIT} --encoder elmo --epochs 2 --hidden-size 8 --output c-elmo",
    "c-elmo-vectors": f"{_FIT} --encoder elmo --word-vectors w2v --mix-at both --mix-l2 0.01 --layer-norm --epochs 2 "
    "--hidden-size 8 --output c-elmo-vectors",
    "c-elmo-tuned": f"{_FIT} --encoder elmo --transfer fine-tune --mix-at output --epochs 2 --hidden-size 8 --output c-elmo-tuned",
    "c-layer": f"{_FIT} --encoder lm-both --body bilstm --layers -1 --epochs 1 --hidden-size 8 --output c-layer",
    "c-many": f"fit classifier --train many.csv --multi-label --encoder lm --epochs 2 {_FP32} --output c-many",
    "c-many-solved": f"fit classifier --train many.csv --multi-label --encoder w2v {_FP32} --output c-many-solved",
    "again-c": f"{_FIT} --encoder adapt-lm --epochs 3 --output c-tuned",
    # Taggers and answerers
    "t-scratch": f"{_TAG} --encoder none --output t-scratch",
    "t-vectors": f"{_TAG} --encoder w2v --n-layers 2 --output t-vectors",
    "t-file": f"{_TAG} --encoder none --word-vectors table.txt --labels 20 --output t-file",
    "t-elmo": f"{_TAG} --encoder elmo --word-vectors w2v --mix-at both --output t-elmo",
    "t-elmo-layer": f"{_TAG} --encoder elmo --layers 1 --characters 0 --output t-elmo-layer",
    "t-lm-tuned": f"{_TAG} --encoder lm-qrnn --transfer fine-tune --layer-norm --output t-lm-tuned",
    "t-released": f"{_TAG} --labels 15 --epochs 1 --output t-released",
    "t-plain": f"{_TAG} --encoder none --scheme plain --output t-plain",
    "a-scratch": f"{_ANSWER} --encoder none --output a-scratch",
    "a-vectors": f"{_ANSWER} --encoder w2v --output a-vectors",
    "a-elmo": f"{_ANSWER} --encoder elmo --mix-at both --output a-elmo",
    "a-lm-tuned": f"{_ANSWER} --encoder lm --transfer fine-tune --word-vectors w2v --labels 24 --output a-lm-tuned",
    # Measured
    "e-ngram": "evaluate ngram held-out.txt",
    "e-ngram-subword": "evaluate ngram-subword held-out.txt",
    "e-lm": "evaluate lm held-out.txt",
    "e-lm-qrnn": "evaluate lm-qrnn held-out.txt",
    "e-lm-subword": "evaluate lm-subword held-out.txt",
    "e-adapt": "evaluate adapt-both held-out.txt",
    "e-elmo": "evaluate elmo held-out.txt",
    "e-elmo-sampled": "evaluate elmo-sampled held-out.txt",
    "e-wiki-small": "evaluate wiki-small sentences.txt",
    "e-w2v": "evaluate w2v sets",
    "e-table": "evaluate table.txt sets",
    "e-c-scratch": "evaluate c-scratch test.csv",
    "e-c-tuned": "evaluate c-tuned test.csv --worst 3",
    "e-c-elmo-vectors": "evaluate c-elmo-vectors test.csv",
    "e-c-many": "evaluate c-many many.csv",
    "e-t-elmo": "evaluate t-elmo test.conll",
    "e-t-plain": "evaluate t-plain test.conll",
    "e-a-elmo": "evaluate a-elmo test.json",
    "e-a-lm-tuned": "evaluate a-lm-tuned test.json",
    # Predicted
    **{
        f"p-{name}": f"predict {name} --file sentences.txt --probabilities"
        for name in (
            "c-scratch c-scratch-awd c-frozen c-frozen-two-layer c-tuned c-tuned-both c-released c-from-classifier c-beside "
            "c-mean c-mean-tuned c-file c-bilstm c-bilstm-frozen c-elmo c-elmo-vectors c-elmo-tuned c-layer c-many "
            "c-many-solved"
        ).split()
    },
    "p-table": "predict c-tuned --file test.csv --text-column text --output predicted.csv",
    "p-lines": "predict c-many --file test.csv --text-column text --output predicted.jsonl",
    **{
        f"p-{name}": f"predict {name} --file sentences.txt"
        for name in "t-scratch t-vectors t-file t-elmo t-elmo-layer t-lm-tuned t-released t-plain".split()
    },
    "p-split": "predict t-elmo --file test.conll --output predicted.conll",
    "p-page": "predict t-elmo --file sentences.txt --output predicted.html",
    **{
        f"p-{name}": f"predict {name} --file test.json --top 2"
        for name in "a-scratch a-vectors a-elmo a-lm-tuned".split()
    },
    # Language models at work
    **{
        f"s-{name}": f"score {name} --file sentences.txt"
        for name in (
            "ngram ngram-subword lm lm-both lm-qrnn lm-subword adapt-lm adapt-qrnn elmo elmo-words adapt-elmo wiki-small wiki-lm"
        ).split()
    },
    **{
        f"f-{name}": f'fill {name} "I am ___ excited" "We sat on the ___ of the river." --top 20'
        for name in "lm lm-both lm-qrnn elmo elmo-words wiki-small wiki-lm".split()
    },
    "f-candidates": 'fill lm-both "The ___ was dull." --candidates film story acting',
    **{
        f"g-{name}": f'generate {name} "The film" --tokens 30 --seed 4'
        for name in "ngram ngram-subword lm lm-qrnn wiki-small wiki-lm".split()
    },
    "g-cool": 'generate lm "The" --tokens 20 --temperature 0.5 --top-k 5',
    "g-greedy": 'generate lm "The" --tokens 20 --temperature 0 --no-stop-at-document-end',
    "g-elmo": 'generate elmo "The"',
    # Vectors at work
    **{
        f"m-{name}-{layer}": f"embed {name} sentences.txt --layers {layer} --output {name}-{layer}.npz"
        for name in ("wiki-small", "wiki-lm")
        for layer in (0, 1, -1)
    },
    "m-unequal": "embed wiki-small sentences.txt --output unequal.npz",
    "m-lm": "embed lm-both sentences.txt --layers -1 --pool max --output lm.npz",
    "m-elmo": "embed elmo sentences.txt --output elmo.hdf5",
    "m-elmo-cached": "embed elmo sentences.txt --cache-words 20 --layers mean --tokenized --output elmo.npz",
    "m-w2v": "embed w2v sentences.txt --pool mean --half --output w2v.npz",
    "m-table": "embed table.txt sentences.txt --pool last --output table.npz",
    "n-w2v": "neighbors w2v film",
    "n-sum": "neighbors w2v story film --minus river --top 5 --measure dot",
    "n-ngrams": "neighbors w2v-ngrams filmic --top 5",
    "n-lm": "neighbors lm film --top 5",
    "n-elmo": 'neighbors elmo story --sentence "The story was dull." --corpus held-out.txt --top 4',
    "n-elmo-any": 'neighbors elmo story --sentence "The story was dull." --corpus held-out.txt --layer 0 --any-word --top 4',
    "n-unknown": "neighbors table.txt zyxomma",
    "n-similarity": "similarity w2v film story",
    "n-similarity-dot": "similarity table.txt river bank --measure dot",
    "r-adapt": f"find-rate lm --corpus more.txt --steps 12 --batch-size 8 {_FP32}",
    "r-classifier": f"find-rate --train train.csv --encoder lm --steps 12 {_FP32}",
    "r-tagger": f"find-rate --task tagger --train train.conll --encoder elmo --steps 12 {_FP32}",
    "r-answerer": f"find-rate --task answerer --train train.json --encoder none --steps 12 {_FP32}",
    # Files of others
    "v-folder": "convert table.txt --output table",
    "v-binary": "convert table.txt --output table.bin",
    "v-npz": "convert w2v --output w2v-table.npz",
    "v-text": "convert table.bin --output back.txt",
    "v-ngrams": "export w2v-ngrams --output ngrams.vec",
    "v-elmo": "export elmo --output elmo-files",
    "v-elmo-back": "convert elmo-files --output elmo-back",
    "v-elmo-score": "embed elmo-back sentences.txt --output elmo-back.npz",
    "v-lm": "export lm --output lm-files",
    # What is kept, and mistakes
    "cache": "cache",
    "x-verb": "trian lm",
    "x-option": "pretrain lm --corpus texts.txt --output new --epoch-count 3",
    "x-absent": "pretrain lm --corpus absent.txt --output new",
    "x-exists": "convert table.txt --output table.bin",
    "x-kind": "fill c-tuned 'a ___'",
    # CoVe
    "cove": "pretrain cove --pairs pairs.en pairs.de --preset tiny --embedding-size 12 --hidden-size 12 --epochs 12 --batch-size 8 "
    f"{_FP32} --output cove",
    "cove-words": "pretrain cove --pairs pairs.en pairs.de --preset tiny --tokenizer word --word-vectors table.txt --hidden-size 12 "
    f"--epochs 2 --batch-size 8 {_FP32} --output cove-words",
    "cove-translate": 'translate cove "the dog sees the man" "the man likes the bank" --beams 3',
    "cove-greedy": "translate cove-words --file pairs.en --beams 1",
    "e-cove": "evaluate cove pairs.en --references pairs.de",
    "m-cove": "embed cove sentences.txt --layers -1 --output cove.npz",
    "c-cove": f"{_FIT} --encoder cove --epochs 2 --hidden-size 8 --output c-cove",
    "p-c-cove": "predict c-cove --file sentences.txt --probabilities",
    **IMAGE_STEPS,
}  # fmt: skip
"""By name, in their order: later ones use what earlier ones wrote."""
