"""How a task is fitted, whichever it is: a model is made, trained, and saved with its card, once, also after a kill."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from accelerate import Accelerator

from unfreeze.progress import SILENT, Progress
from unfreeze.tasks.fit_settings import LearningSettings
from unfreeze.training.cards import write_card
from unfreeze.training.checkpoints import RunFolder
from unfreeze.training.loop import seed_everything, train
from unfreeze.training.loop_settings import LoopSettings
from unfreeze.training.objective import Objective
from unfreeze.training.precision import Precision
from unfreeze.training.processes import make_accelerator, together
from unfreeze.transfer.policies import TransferPolicy

logger = logging.getLogger(__name__)


class TaskModel(Protocol):
    """What is fitted."""

    @property
    def network(self) -> Any:
        """A module."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Into a folder."""


Model = TypeVar("Model", bound=TaskModel)
Records = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FitTask(Generic[Model]):
    """A task, as it is fitted."""

    name: str
    """ "classifier", "tagger", "answerer"."""
    title: str
    """Of the model card."""
    snippet: str
    """Python that uses the saved model, for the card."""
    settings: LearningSettings
    identity: Callable[[], dict[str, Any]]
    """What tells this run from another: the settings, the data, and what is in the files that they name."""
    load: Callable[[str | Path], Model]
    """A model that was saved."""
    make: Callable[[], Model]
    """One that is ready to be trained."""
    make_objective: Callable[[Model, Accelerator], Objective]
    """What the loop trains; a frozen encoder's layers are kept here."""
    policy: TransferPolicy
    loop: LoopSettings
    solve: Callable[[Model, Any], Records | None] = lambda model, objective: None
    """The records of a model that needs no loop, since its best weights are computed; None where it does."""
    after: Callable[[Model], None] = lambda model: None
    """Put away what served the training alone."""
    facts: Callable[[Model], dict[str, Any]]
    """For the model card."""
    unsaid: tuple[str, ...] = ("score",)
    """Figures of the records that metrics.json does not have."""


def fit_task(
    task: FitTask[Model],
    *,
    output: str | Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> Model:
    """Fit, and save into `output` if there is one. Run again after a kill, it goes on.

    Raises:
        UserError: the data cannot be learned from, or the encoder or the output cannot be used.
        Interrupted: Ctrl-C, after a checkpoint.
    """
    with together():
        asked = {} if output is None else {"stage": f"fit {task.name}", **task.identity()}
    accelerator = make_accelerator(precision)
    folder = None
    if output is not None:
        with accelerator.main_process_first():
            folder = RunFolder(Path(output), asked, overwrite=overwrite and accelerator.is_main_process)
        if folder.done:
            logger.info("%s is complete already", output)
            return task.load(output)
    with together():
        seed_everything(task.loop.seed)
        model = task.make()
    model.network.to(accelerator.device)
    with together():
        objective = task.make_objective(model, accelerator)
    records = task.solve(model, objective)
    if records is None:
        records = train(
            objective,
            policy=task.policy,
            settings=task.loop,
            folder=folder,
            accelerator=accelerator,
            progress=progress,
            what=task.name,
        )
    task.after(model)
    with together():
        if folder is not None and accelerator.is_main_process:
            model.save_pretrained(folder.output)
            _describe(task, model, folder, records, command)
            folder.finish()
    return model


def _describe(task: FitTask[Model], model: Model, folder: RunFolder, records: Records, command: str) -> None:
    """The model card, and metrics.json with the figures of the weights that were kept."""
    best = records[-1]
    if task.loop.keep_best and "score" in best:
        best = max(records, key=lambda record: (record["score"], -record["loss"]))
    metrics = {name: value for name, value in best.items() if name not in task.unsaid}
    shown = {
        name: value
        for name, value in asdict(task.settings).items()
        if value is not None and name != "encoder"
    }
    facts = {
        **task.facts(model),
        "encoder": Path(task.settings.chosen_encoder).name,
        "command": command,
        "settings": json.dumps(shown),
        "parameters": sum(p.numel() for p in model.network.parameters()),
    }
    write_card(folder.output, title=task.title, facts=facts, metrics=metrics, snippet=task.snippet)
