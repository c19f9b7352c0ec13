"""What the README shows is run, on generated reviews."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from tests.commands.test_answerer import written
from tests.commands.toy_images import LABELS, patterns, write_images
from tests.tasks.sentences import columns, tagged_sentences
from tests.tasks.test_answering import made_questions
from unfreeze.commands.main import main
from unfreeze.generated import movie_reviews

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNFREEZE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts.txt").write_text("\n\n".join(r.text for r in movie_reviews(300, 1)), encoding="utf-8")
    for name, seed in (("labeled.csv", 2), ("held-out.csv", 3)):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows([review.text, review.label] for review in movie_reviews(30, seed))
    (tmp_path / "tagged.conll").write_text(columns(tagged_sentences(30)), encoding="utf-8")
    people = ["Ada", "Kurt", "Grace"]
    pairs = [f"{one} likes {other}.\t{one} mag {other}.\n" for one in people for other in people] * 10
    (tmp_path / "pairs.tsv").write_text("".join(pairs), encoding="utf-8")
    (tmp_path / "held-out-pairs.tsv").write_text("".join(pairs[:2]), encoding="utf-8")
    written(tmp_path / "questions.json", made_questions(30))
    write_images(tmp_path / "photos", 48, seed=3, labels=LABELS)
    write_images(tmp_path / "cats-and-dogs", 24, seed=4)
    write_images(tmp_path / "more-cats-and-dogs", 12, seed=6)
    boxes = [f"{path.name},pattern,2,3,12,14\n" for path in sorted((tmp_path / "photos").rglob("*.png"))]
    for name, some in (("boxes.csv", boxes[::2]), ("more-boxes.csv", boxes[1::2])):
        (tmp_path / name).write_text("".join(["image,label,xmin,ymin,xmax,ymax\n", *some]))
    Image.fromarray(patterns(1, seed=5)[0][0]).save(tmp_path / "photo.jpg")
    commands = [
        line for block in blocks("console") for line in block.splitlines() if line.startswith("$ unfreeze")
    ]
    assert len(commands) >= 5
    for line in commands:
        line = line.replace("--minutes 1 ", "--epochs 1 ")  # a minute each, on the reader's own texts
        assert main(shlex.split(line.removeprefix("$ "))[1:]) == 0, line
    names: dict[str, object] = {}
    for python in blocks("python"):
        exec(compile(python, "README.md", "exec"), names)  # noqa: S102  (our own README)
    assert len(blocks("python")[0].splitlines()) <= 10
