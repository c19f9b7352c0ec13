"""Claim: who is chasing whom depends on word order, so a reader can answer the question and a bag of vectors cannot.

Pairs of sentences such as "A mouse chases a cat" and "A cat chases a mouse" are generated from a grammar, with the question "Who
chases?"; the verbs and nouns of the test set do not occur in training. The bag model chooses between the two nouns by
logistic regression on the vectors of the noun and the sums over sentence and question. These features are the same for both
sentences of a pair, so it is right for one of them, at chance level. The reader sees the same vectors in order.

    python -m experiments.who_is_chasing --vectors VECTORS

2026-11-25, a minute of one shared core: the bag 50.0 %, the reader 98.0 % (with two threads 100.0); it answers the pair above with mouse and cat.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from unfreeze.encoders.word_vectors import WordVectors, read_encoder
from unfreeze.tasks.question_answerer import fit_answerer
from unfreeze.tasks.settings import AnswererSettings
from unfreeze.text.questions import Answer, Question, QuestionSet

NOUNS = (
    "mouse cat dog horse bird fish wolf bear lion tiger boy girl man woman king queen child doctor teacher soldier "
    "farmer driver writer singer painter player student lawyer nurse guard"
).split()
VERBS = "chases sees follows attacks helps finds knows hears meets kills loves leads teaches saves catches hates".split()
TEMPLATES = ("A {a} {verb} a {b}.", "The {a} {verb} the {b}.", "Today the {a} {verb} a {b} again.")
N_TEST_NOUNS, N_TEST_VERBS = 8, 4


def main() -> None:
    """Generate the data, fit and evaluate both models, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", required=True, help="folder or file of word vectors")
    parser.add_argument("--pairs", type=int, default=1_000, help="training pairs (default: 1,000)")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    nouns, verbs = list(NOUNS), list(VERBS)
    chosen = random.Random(0)
    chosen.shuffle(nouns)
    chosen.shuffle(verbs)
    train = pairs(nouns[N_TEST_NOUNS:], verbs[N_TEST_VERBS:], arguments.pairs, chosen)
    test = pairs(nouns[:N_TEST_NOUNS], verbs[:N_TEST_VERBS], 200, chosen)
    print(
        f"{len(train):,} sentences to learn from; {len(test):,} with other verbs ({', '.join(verbs[:N_TEST_VERBS])}) and nouns"
    )
    vectors = read_encoder(arguments.vectors)
    print(f"a bag of vectors: {100 * bag_accuracy(vectors, train, test):.1f} %")
    started = time.monotonic()
    settings = AnswererSettings(encoder=arguments.vectors, characters=0, epochs=arguments.epochs)
    answerer, _ = fit_answerer(train, settings)
    found = answerer.answer(test)
    right = [
        one["answers"][0]["answer"].split()[-1] == each.answers[0].text.split()[-1]
        for one, each in zip(found, test.examples, strict=True)
    ]
    print(f"the reader: {100 * np.mean(right):.1f} % in {time.monotonic() - started:.0f} s")
    lecture = [("Who is chasing?", f"A {a} chases a {b}.") for a, b in (("mouse", "cat"), ("cat", "mouse"))]
    for (question, context), one in zip(lecture, answerer(lecture), strict=True):
        print(f"  {context} {question} {one['answers'][0]['answer']} ({one['answers'][0]['score']:.2f})")


def pairs(nouns: list[str], verbs: list[str], count: int, chosen: random.Random) -> QuestionSet:
    """Both sentences of a number of pairs, with the same question."""
    every = list(itertools.product(itertools.combinations(nouns, 2), verbs, TEMPLATES))
    found = []
    for (a, b), verb, template in chosen.sample(every, min(count, len(every))):
        for subject, other in ((a, b), (b, a)):
            context = template.format(a=subject, verb=verb, b=other)
            answer = Answer(subject, context.index(f" {subject} ") + 1)
            number = str(len(found))
            found.append(Question(number, f"Who {verb}?", context, (answer,), number))
    return QuestionSet(found, "a grammar")


def bag_accuracy(vectors: WordVectors, train: QuestionSet, test: QuestionSet) -> float:
    """Accuracy of the bag: how often it prefers the noun that chases."""
    nouns = sorted({each.answers[0].text for part in (train, test) for each in part.examples})
    rows, labels, groups = features(vectors, train, nouns)
    model = LogisticRegression(max_iter=1000).fit(rows, labels)
    rows, labels, groups = features(vectors, test, nouns)
    scores = model.decision_function(rows)
    return float(np.mean([labels[group][int(np.argmax(scores[group]))] for group in groups]))


def features(
    vectors: WordVectors, questions: QuestionSet, nouns: list[str]
) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Features of each noun (its vector, the sum over the sentence, and their products), and whether it is the answer."""
    rows, labels, groups = [], [], []
    for each in questions.examples:
        words = each.context.strip(".").split()
        total = np.sum([vector(vectors, word) for word in sorted(words)], axis=0)
        group = []
        for noun in sorted(word for word in words if word in nouns):
            own = vector(vectors, noun)
            group.append(len(rows))
            rows.append(np.concatenate([own, total, own * total]))
            labels.append(noun == each.answers[0].text)
        groups.append(group)
    return np.array(rows), np.array(labels), groups


def vector(vectors: WordVectors, word: str) -> np.ndarray:
    """Vector of a word, or zeros."""
    found = vectors.vector(word)
    return np.zeros(vectors.size, np.float32) if found is None else found.numpy()


if __name__ == "__main__":
    main()
