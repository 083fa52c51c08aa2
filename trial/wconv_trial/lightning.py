"""A callback of Lightning's, which makes a training with it a trial.

    from lightning.pytorch import Trainer
    from wconv_trial import begin
    from wconv_trial.lightning import TrialCallback

    trial = begin()
    callback = TrialCallback(trial)
    trainer = Trainer(max_epochs=10, callbacks=[callback])
    trainer.fit(model, ckpt_path=callback.checkpoint)
    trial.finish(**trainer.test(model)[0])

It is for `lightning`, and for `pytorch_lightning` where the program has imported that before.
"""

import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any, Optional

from wconv_trial.trial import Trial
from wconv_trial.validation_metrics import validation_metrics

if TYPE_CHECKING or "lightning.pytorch" in sys.modules or "pytorch_lightning" not in sys.modules:
    from lightning.pytorch import Callback
else:
    from pytorch_lightning import Callback

VALIDATION = ("val_", "val/")
"""Prefixes of what a module logs of its validation set; reports leave them out."""

_CHECKPOINT = re.compile(r"epoch_(\d+)\.ckpt")


class TrialCallback(Callback):  # type: ignore[misc]
    """Reports on every rank after each epoch, keeps a checkpoint, and ends the program when the
    trial is to stop.

    What the module has logged of its validation set is reported by its name without `val_`. A
    program without a validation set reports what it has logged of its training. Rank 0's values
    count: log with `sync_dist=True`.

    Lightning must see the processes that there are: those of the agent, as of `torchrun`.
    """

    def __init__(self, trial: Trial) -> None:
        """
        Args:
            trial: of this process.
        """
        self._trial = trial
        self._validated = False

    @property
    def checkpoint(self) -> Optional[str]:
        """Path of the checkpoint to continue from, for `fit(ckpt_path=...)`; None: there is
        none. Ask before the training begins."""
        kept = self._kept()
        return str(self._trial.folder / kept[-1]) if kept else None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        # SLURM sends SIGTERM to all processes of a job that it preempts. Lightning's handler then
        # broadcasts, in the middle of whatever the ranks exchange. should_stop tells them instead.
        if self._trial.in_study:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        # Without a checkpoint: Lightning would begin the epoch's data anew, at this step.
        if self._trial.should_stop:
            sys.exit()

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if trainer.enable_validation and not self._validated:
            return
        self._validated = False
        epoch = trainer.current_epoch + 1
        metrics = validation_metrics(trainer.callback_metrics, VALIDATION)
        answer = self._trial.report(epoch, **metrics)
        self._save(trainer, epoch)
        if answer.stop:
            sys.exit()

    def _save(self, trainer: Any, epoch: int) -> None:
        path = self._trial.folder / f"epoch_{epoch}.ckpt"
        new = path.with_suffix(".new")
        trainer.save_checkpoint(new)  # all ranks take part, and wait for each other
        if trainer.is_global_zero:
            os.replace(new, path)  # whole, or not at all
            for old in self._kept()[:-1]:
                _remove(str(self._trial.folder / old))

    def _kept(self) -> "list[str]":
        """Return the names of all checkpoints, the newest last."""
        found = {}
        for name in os.listdir(self._trial.folder):
            match = _CHECKPOINT.fullmatch(name)
            if match:
                found[int(match[1])] = name
        return [found[epoch] for epoch in sorted(found)]


def _remove(path: str) -> None:
    """Remove a checkpoint, which some strategies write as a folder."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.remove(path)
