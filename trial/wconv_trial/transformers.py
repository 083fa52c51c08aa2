"""A callback of Hugging Face's Trainer, which makes a training with it a trial.

from transformers import Trainer, TrainingArguments
from wconv_trial import begin
from wconv_trial.transformers import TrialCallback

trial = begin()
callback = TrialCallback(trial)
arguments = TrainingArguments(
    output_dir=trial.folder, seed=trial.seed, eval_strategy="epoch", save_total_limit=2
)
trainer = Trainer(model, arguments, callbacks=[callback], ...)
trainer.train(resume_from_checkpoint=callback.checkpoint)
trial.finish(**trainer.evaluate(test, metric_key_prefix="test"))
"""

import os
import re
import sys
from typing import Any, Dict, Mapping, Optional

from transformers import TrainerCallback

from wconv_trial.errors import TrialError
from wconv_trial.trial import Trial
from wconv_trial.validation_metrics import validation_metrics

VALIDATION = ("eval_",)
"""Prefix of what the Trainer evaluates; reports leave it out."""
NO_METRICS = (
    *("epoch", "runtime", "samples_per_second", "steps_per_second"),
    *("model_preparation_time", "jit_compilation_time"),
)
"""What the Trainer measures of itself, behind that prefix."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_COMPLETE = "complete_{}"
"""A file in a checkpoint, of each rank that has written its part."""


class TrialCallback(TrainerCallback):  # type: ignore[misc]
    """Reports each evaluation on every rank, has a checkpoint saved after it, and ends the program
    when the trial is to stop.

    The step of a report is the epoch, or with eval_strategy="steps" the number of the evaluation.
    What compute_metrics returns is reported by its name, without the Trainer's `eval_`.
    Any save_strategy will do but "best", which overrules the callback.
    """

    def __init__(self, trial: Trial) -> None:
        """
        Args:
            trial: of this process.
        """
        self._trial = trial
        self._has_trained = self._is_stopping = False

    @property
    def checkpoint(self) -> Optional[str]:
        """Path of the last checkpoint that all ranks have completed, for
        `train(resume_from_checkpoint=...)`; None: there is none. Ask before the training begins.
        """
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        found = {}
        for path in self._trial.folder.iterdir():
            match = _CHECKPOINT.fullmatch(path.name)
            if match and all((path / _COMPLETE.format(rank)).exists() for rank in range(ranks)):
                found[int(match[1])] = path
        return str(found[max(found)]) if found else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        output, folder = os.path.realpath(args.output_dir), os.path.realpath(self._trial.folder)
        if output != folder:
            raise TrialError(
                f"the Trainer writes its checkpoints to {output}, not to the folder of the trial. "
                "Use TrainingArguments(output_dir=trial.folder, ...)."
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._has_trained = True
        # Where an evaluation follows, its report tells whether to stop: a checkpoint from before
        # it would be continued behind it.
        is_evaluated = control.should_evaluate or float(state.epoch).is_integer()
        if not is_evaluated and self._trial.should_stop:
            self._stop(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._is_stopping:
            # In the middle of the epoch, whose checkpoint is written.
            control.should_evaluate = control.should_save = False

    def on_evaluate(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: Optional[Mapping[str, Any]] = None,
        **_: Any,
    ) -> None:
        # Neither what is evaluated before the first step, nor by the program after the training.
        if not self._has_trained:
            return
        by_steps = str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "steps"
        step = state.global_step // state.eval_steps if by_steps else round(state.epoch)
        answer = self._trial.report(step, **_reported(metrics or {}))
        control.should_save = True
        if answer.stop:
            self._stop(control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        saved = self._trial.folder / f"checkpoint-{state.global_step}"
        (saved / _COMPLETE.format(args.process_index)).touch()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._has_trained = False
        if self._is_stopping:
            sys.exit()

    def _stop(self, control: Any) -> None:
        self._is_stopping = control.should_save = control.should_training_stop = True


def _reported(evaluated: Mapping[str, Any]) -> Dict[str, float]:
    metrics = validation_metrics(evaluated, VALIDATION)
    return {name: metrics[name] for name in metrics if name not in NO_METRICS}
