"""The part of golden_steps.py that has images: generated pictures with classes and boxes, and command lines of the ConvNet."""

from __future__ import annotations

import json
from pathlib import Path


def make_images(folder: Path) -> None:
    """Folders of classes, tables of one box an image, and COCO files of several boxes; 14 and 6 pictures of each."""
    import numpy as np
    import PIL.Image

    from tests.commands.toy_images import write_images
    from tests.tasks.rectangles import one_rectangle, several_rectangles

    for name, count, seed in (("learn", 14, 1), ("measure", 6, 2)):
        write_images(folder / f"classes-{name}", count, seed, ("across", "down", "spots"))
        boxes, several = folder / f"box-{name}", folder / f"boxes-{name}"
        boxes.mkdir()
        several.mkdir()
        rows = ["filename,class,xmin,ymin,xmax,ymax"]
        for number, (picture, edges) in enumerate(zip(*one_rectangle(count, seed), strict=True)):
            PIL.Image.fromarray(picture).save(boxes / f"{number}.png")
            rows.append(",".join([f"{number}.png", "paper", *map(str, edges)]))
        (boxes / "boxes.csv").write_text("\n".join(rows) + "\n")
        images, annotations = [], []
        for number, (picture, wanted) in enumerate(zip(*several_rectangles(count, seed), strict=True)):
            PIL.Image.fromarray(picture).save(several / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 32, "height": 32})
            edges, labels = np.asarray(wanted["boxes"]), wanted["labels"]
            assert isinstance(labels, list)
            for (left, top, right, bottom), label in zip(edges.tolist(), labels, strict=True):
                box, kind = [left, top, right - left, bottom - top], int(label == "dark")
                annotations.append(
                    {"id": len(annotations), "image_id": number, "category_id": kind, "bbox": box}
                )
        kinds = [{"id": number, "name": name} for number, name in enumerate(("bright", "dark"))]
        content = {"images": images, "annotations": annotations, "categories": kinds}
        (several / "coco.json").write_text(json.dumps(content))


_NETWORK = "--width 16 --depths 1 1 --stem small --epochs 2 --batch-size 8 --precision fp32"
_CLASSES = "fit classifier --train classes-learn --validation classes-measure"
_BOX = "fit locator --train box-learn/boxes.csv --validation box-measure/boxes.csv"
_BOXES = "fit locator --train boxes-learn/coco.json"

IMAGE_STEPS = {
    "i-pretrain": f"pretrain convnet --images classes-learn --preset tiny --image-size 16 {_NETWORK} --output convnet",
    "i-scratch": f"{_CLASSES} --image-size 16 --jitter 0.2 {_NETWORK} --output i-scratch",
    "i-frozen": f"{_CLASSES} --encoder convnet --transfer frozen --precision fp32 --output i-frozen",
    "i-tuned": f"{_CLASSES} --encoder convnet --unfreeze 1 --epochs 3 --batch-size 8 --precision fp32 --output i-tuned",
    "l-one": f"{_BOX} --image-size 32 {_NETWORK} --output l-one",
    "l-one-frozen": f"{_BOX} --encoder convnet --image-size 32 --transfer frozen --epochs 3 --precision fp32 --output l-one-frozen",
    "l-several": f"{_BOXES} --boxes several --image-size 32 {_NETWORK} --output l-several",
    "l-several-tuned": f"{_BOXES} --boxes several --encoder convnet --image-size 32 --epochs 2 --batch-size 8 --precision fp32 "
    "--output l-several-tuned",
    "e-i-pretrain": "evaluate convnet classes-measure",
    "e-i-tuned": "evaluate i-tuned classes-measure --worst 2",
    "e-l-one": "evaluate l-one box-measure/boxes.csv",
    "e-l-several": "evaluate l-several boxes-measure/coco.json",
    "p-i-scratch": "predict i-scratch classes-measure --probabilities",
    "p-i-frozen": "predict i-frozen classes-measure",
    "p-l-one": "predict l-one-frozen box-measure",
    "p-l-several": "predict l-several-tuned boxes-measure --least-score 0.01",
    "n-images": "neighbors convnet classes-measure/across/00.png --images classes-learn --top 5",
}  # fmt: skip
