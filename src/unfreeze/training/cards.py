"""Model cards: README.md and metrics.json of a saved model, made from the run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unfreeze.folders import METRICS, write_json, written_file

ENCODER_SNIPPET = """
from unfreeze import Encoder

encoder = Encoder.from_pretrained(".")  # this folder
print(encoder.encode(["He sat on the bank of the river."]).shape)
"""
IMAGE_ENCODER_SNIPPET = """
from unfreeze import Encoder

encoder = Encoder.from_pretrained(".")  # this folder
print(encoder.encode(["photo.jpg"]).shape)
"""
LANGUAGE_MODEL_SNIPPET = """
from unfreeze import LanguageModel

model = LanguageModel.from_pretrained(".")  # this folder
for name, score in model.score(["He sat on the bank of the river."])[0].directions.items():
    print(name, score.perplexity)
"""
VECTORS_SNIPPET = """
from unfreeze import WordVectors

vectors = WordVectors.from_pretrained(".")  # this folder
print(len(vectors), vectors.size, vectors.index_to_key[:10])
"""


def write_card(
    folder: Path,
    *,
    title: str,
    facts: dict[str, object],
    metrics: dict[str, Any],
    snippet: str,
    license: str = "not stated: it depends on the license of the training data",
) -> None:
    """Write metrics.json and README.md into `folder`.

    Args:
        title: one line that describes the model.
        facts: what is needed to train the model again: data, command, settings and time.
        metrics: metrics of the run, held-out ones if there is held-out data.
        snippet: Python code that uses the model, run from its folder.
        license: license of the weights.
    """
    write_json(folder / METRICS, metrics)
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in {**facts, "license": license}.items()]
    lines += ["", "Metrics of the run:", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in metrics.items()]
    lines += ["", "```python", snippet.strip(), "```", ""]
    with written_file(folder / "README.md") as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8", errors="replace")


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
