"""The epoch loop: trains one trial, alone or as one of several ranks."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from wconv_jobs.artifacts.test_images import FirstImages
from wconv_jobs.artifacts.trial_files import IMAGES, write_confusion, write_images
from wconv_jobs.catalog import metric_facts
from wconv_jobs.data import load_task
from wconv_jobs.errors import CheckpointError, JobError, TrainingDiverged
from wconv_jobs.memory_format import arranged
from wconv_jobs.messages import Report, Verdict
from wconv_jobs.metrics import ConfusionMatrix
from wconv_jobs.seeding import derive_seed
from wconv_jobs.spec import TrialSpec
from wconv_jobs.tasks.task import Task
from wconv_jobs.training import checkpoint
from wconv_jobs.training.ablation import density_engine
from wconv_jobs.training.agreement import Action, Agreement, EvaluationDropped
from wconv_jobs.training.buffers import distributed
from wconv_jobs.training.checkpoint import Progress
from wconv_jobs.training.compiled import compile_checked
from wconv_jobs.training.early_stopping import best_epoch, is_over
from wconv_jobs.training.evaluation import LOSS, evaluate, evaluate_input
from wconv_jobs.training.network import DTYPES, tried_network
from wconv_jobs.training.network_check import check_exchange
from wconv_jobs.training.world import World

_VERDICTS = tuple(Verdict)

LONE_PROCESS = World(rank=0, size=1, device=torch.device("cpu"))


@dataclass(frozen=True)
class TrainingResult:
    """The end of a training run."""

    ending: Literal["complete", "pruned", "stopped"]
    reports: list[Report]
    """One per finished epoch, those of earlier attempts included."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of a complete run: those of the report of the epoch whose weights were tested, their
    `test_<metric>`, `input_<metric>` of the unprocessed test input, `lr` after the last epoch,
    `best_epoch`, `stopped_epoch` and `test_samples`, the number of samples of the test set."""


def train(
    spec: TrialSpec,
    report: Callable[[Report], Verdict],
    world: World = LONE_PROCESS,
    demanded: Callable[[], bool] = lambda: False,
    stepped: Callable[[], None] = lambda: None,
) -> TrainingResult:
    """Train the trial from its checkpoint, or from the start, to its end.

    After each epoch the checkpoint is written, rank 0 reports, and all ranks together obey the
    verdict. The report that the checkpoint ends with is sent once more when a run resumes, since
    its attempt may have been killed between the two; the receiver knows it by its epoch. What is
    tested in the end are the weights of the last epoch or, with early stopping, those of the epoch
    with the lowest validation loss.

    Within an epoch a checkpoint is written when the agent demands one, at the deadline, and when
    the last one is older than `spec.checkpoint_every_s`; after the first two, the run has stopped.

    A run that is interrupted and resumed, after whichever step, ends with the same numbers as one
    that is not: bitwise on one or two CPU ranks, up to rounding on more, where
    DistributedDataParallel reorders its buckets after the first step of a process and with them
    the sums, and on GPUs, whose kernels are not deterministic.

    Args:
        spec: what to train.
        report: called on rank 0 only; returns what to do next.
        world: the process group to train in.
        demanded: whether the run should stop at a checkpoint; called on rank 0 only.
        stepped: called after the first step of this attempt, on rank 0 only.

    Raises:
        TrainingDiverged: loss or a metric is not finite.
        JobError: data or model cannot be used; the message says why.
        CheckpointError: the checkpoint cannot be used.
    """
    run = Run(spec, world, demanded, stepped)
    progress = checkpoint.load(spec, run.state)
    first = len(progress.reports)
    position = len(progress.reports) * (run.steps + 1) + progress.step
    if world.from_rank_0(position) != position:
        # Each rank reads the file by itself; one that was replaced in between would go unnoticed.
        raise CheckpointError("the ranks have read checkpoints of different steps")
    if progress.reports:
        verdict = run.agree(report, progress.reports)
        if verdict is not Verdict.CONTINUE:
            return _ended_early(verdict, progress.reports)
    while run.is_unfinished(progress.reports):
        if not run.train_epoch(progress):
            return _ended_early(Verdict.STOP, progress.reports)
        try:
            finished = run.validated(progress, steady=len(progress.reports) > first)
        except EvaluationDropped:
            run.save(progress)
            return _ended_early(Verdict.STOP, progress.reports)
        progress = Progress([*progress.reports, finished])
        run.keep_best(progress.reports)
        run.save(progress)
        verdict = run.agree(report, progress.reports)
        if verdict is not Verdict.CONTINUE:
            return _ended_early(verdict, progress.reports)
    try:
        return TrainingResult("complete", progress.reports, run.test(progress.reports))
    except EvaluationDropped:
        return _ended_early(Verdict.STOP, progress.reports)


def losses(reports: Sequence[Report]) -> list[float]:
    """Return the validation loss of each epoch."""
    return [report.metrics[LOSS] for report in reports]


class Run:
    """The objects of one training run, built so that two trials differ only in the density."""

    def __init__(
        self,
        spec: TrialSpec,
        world: World,
        demanded: Callable[[], bool],
        stepped: Callable[[], None] = lambda: None,
    ) -> None:
        recipe = spec.recipe
        self.spec, self.world = spec, world
        self.seed = derive_seed(spec.study_seed, spec.replicate)
        self.task: Task = load_task(spec.data, seed=self.seed, device=world.device)
        self.steps = self._steps_per_epoch()
        tried = tried_network(spec, self.seed, self.task, world)
        self.model = tried.model
        self.module: nn.Module = self.model
        if recipe.compile:
            compile_checked(self.model, spec, lambda step: self.loss(0, step % self.steps), world)
        if world.size > 1:
            check_exchange(self.model)
        engine = density_engine(self.model, spec.density, spec.ablation, spec.sites)
        if world.size > 1:
            self.module = distributed(self.model, find_unused_parameters=bool(tried.unused))
        optimizer = recipe.optimizer.build(self.model.parameters())
        if engine is not None:
            engine.attach(optimizer)
        scheduler = recipe.lr_schedule.build(
            optimizer, steps_per_epoch=self.steps, epochs=recipe.epochs
        )
        self.state = checkpoint.TrainingState(self.model, optimizer, scheduler)
        self.agreement = Agreement(
            world,
            demanded,
            deadline_s=spec.deadline_s,
            checkpoint_every_s=spec.checkpoint_every_s,
            stepped=stepped,
        )

    def is_unfinished(self, reports: list[Report]) -> bool:
        """Return whether there is another epoch to train."""
        recipe = self.spec.recipe
        return len(reports) < recipe.epochs and not is_over(losses(reports), recipe.early_stopping)

    def train_epoch(self, progress: Progress) -> bool:
        """Train the rest of an epoch; return whether to continue, or a checkpoint ends the run.

        Args:
            progress: is advanced to the last trained step.
        """
        device = self.world.device
        started = time.monotonic() - progress.elapsed_s
        # Dropout: the same in an interrupted run, and on all ranks, see `share_dropout`.
        torch.manual_seed(derive_seed(self.seed, "model", len(progress.reports)))
        if progress.step:
            progress.restore_random()
        self.module.train()
        loss_sum = torch.tensor(self._loss_sum(progress), dtype=torch.float64, device=device)
        action = Action.GO
        while progress.step < self.steps and action is not Action.STOP:
            loss_sum += self.train_step(len(progress.reports), progress.step)
            progress.step += 1
            action = self.agreement.after_step()
            if action is not Action.GO or progress.step == self.steps:
                sums = self.world.gather(loss_sum)
                progress.note(progress.step, sums, time.monotonic() - started, device.type)
            if action is not Action.GO:
                self.save(progress)
        self.world.equalize_buffers(self.model)
        return action is not Action.STOP

    def validated(self, progress: Progress, *, steady: bool) -> Report:
        """Return the report of the epoch that has been trained.

        Args:
            progress: at the end of its steps.
            steady: see `Report`.

        Raises:
            EvaluationDropped: on rank 0, see `Agreement.drop_evaluation`.
        """
        started, epoch = time.monotonic(), len(progress.reports)
        train_loss = sum(progress.loss_sums) / (self.steps * len(progress.loss_sums))
        metrics = {"train_loss": train_loss, "lr": self.lr}
        drop = self.agreement.drop_evaluation
        metrics |= evaluate(
            *(self.model, self.task, "validation", self.world),
            on_batch=drop,
            memory_format=self.spec.memory_format,
        )
        _check_finite(metrics, self.task.metrics, epoch)
        epoch_s = progress.elapsed_s + time.monotonic() - started
        return Report(epoch=epoch + 1, metrics=metrics, epoch_s=epoch_s, steady=steady)

    def keep_best(self, reports: list[Report]) -> None:
        """Keep the weights if the last epoch is the best."""
        rule = self.spec.recipe.early_stopping
        if rule is not None and best_epoch(losses(reports), rule) == len(reports):
            self.state.best.update(copy.deepcopy(self.model.state_dict()))

    def save(self, progress: Progress) -> None:
        """Write the checkpoint, on rank 0."""
        if self.world.rank == 0:
            checkpoint.save(self.spec, self.state, progress)
            self.agreement.saved()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.state.scheduler.get_last_lr()[0])

    def test(self, reports: list[Report]) -> dict[str, float]:
        """Return the metrics of a complete run, see `TrainingResult`."""
        recipe, task, world = self.spec.recipe, self.task, self.world
        order = self.spec.memory_format
        best = best_epoch(losses(reports), recipe.early_stopping)
        if self.state.best:
            self.model.load_state_dict(self.state.best)
        confusion = None if task.classes is None else ConfusionMatrix(task.classes)
        drop = self.agreement.drop_evaluation
        # Of several ranks, each sees only some of the images.
        shown = FirstImages(task, IMAGES) if world.size == 1 else None
        test = evaluate(
            *(self.model, task, "test", world, recipe.test_metrics, confusion, drop, order),
            seen=None if shown is None else shown.take,
        )
        if confusion is not None:
            matrix_KK = confusion.matrix(world.sum(confusion.state()))
            if world.rank == 0:
                write_confusion(matrix_KK, self.spec.checkpoint_folder)
        metrics = reports[best - 1].metrics | _prefixed("test", test)
        if task.input_is_estimate:
            unprocessed = evaluate_input(task, "test", world, recipe.test_metrics, drop)
            metrics |= _prefixed("input", unprocessed)
        if world.rank == 0:
            found = None if shown is None else shown.found
            write_images(self.model, task, self.spec.checkpoint_folder, drop, order, found)
        return metrics | {
            "lr": reports[-1].metrics["lr"],
            "best_epoch": best,
            "stopped_epoch": len(reports),
            "test_samples": len(task.names("test")),
        }

    def agree(self, report: Callable[[Report], Verdict], reports: list[Report]) -> Verdict:
        """Send rank 0's last report and return the verdict that every rank obeys."""
        verdict = Verdict.CONTINUE
        if self.world.rank == 0:
            verdict = report(reports[-1])
            if verdict is Verdict.CONTINUE and self.agreement.stop_is_wanted:
                verdict = Verdict.STOP
        return _VERDICTS[self.world.from_rank_0(_VERDICTS.index(verdict))]

    def train_step(self, epoch: int, step: int) -> Tensor:
        """Take a step of the optimizer and return this rank's loss before it."""
        loss = self.loss(epoch, step)
        self.state.optimizer.zero_grad()
        torch.autograd.backward(loss)
        clip_grad_norm = self.spec.recipe.clip_grad_norm
        if clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), clip_grad_norm)
        self.state.optimizer.step()
        self.state.scheduler.step()
        return loss.detach()

    def loss(self, epoch: int, step: int) -> Tensor:
        """Return this rank's loss in a step."""
        recipe = self.spec.recipe
        inputs, targets = self.task.train_batch(epoch, self.world.share(recipe.batch_size, step))
        inputs = arranged(inputs.to(DTYPES[recipe.dtype]), self.spec.memory_format)
        if targets.is_floating_point():
            targets = arranged(targets.to(DTYPES[recipe.dtype]), self.spec.memory_format)
        amp = recipe.amp == "bfloat16"
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=amp):
            outputs = self.module(inputs)
            return self.task.loss(outputs, targets, label_smoothing=recipe.label_smoothing)

    def _loss_sum(self, progress: Progress) -> float:
        """Return this rank's part of the losses so far."""
        sums, size = progress.loss_sums, self.world.size
        if len(sums) == size:
            return sums[self.world.rank]
        # At the start, or on another number of ranks: the mean over all of them is kept.
        return sum(sums) * size / max(1, len(sums)) if self.world.rank == 0 else 0.0

    def _steps_per_epoch(self) -> int:
        batch_size = self.spec.recipe.batch_size
        if batch_size % self.world.size:
            raise JobError(
                f"recipe.batch_size is {batch_size}, which {self.world.size} ranks cannot share "
                f"evenly. Set it to a multiple of {self.world.size}."
            )
        steps = self.task.epoch_samples // batch_size
        if steps == 0:
            raise JobError(
                f"recipe.batch_size is {batch_size}, but an epoch of data "
                f"'{self.spec.data.name}' has only {self.task.epoch_samples} samples. Set "
                "recipe.batch_size to that or less."
            )
        return steps


def _check_finite(metrics: dict[str, float], scores: Sequence[str], epoch: int) -> None:
    for name, value in metrics.items():
        infinite_is_fine = name in scores and metric_facts(name).may_be_infinite
        if math.isnan(value) or (math.isinf(value) and not infinite_is_fine):
            raise TrainingDiverged(f"{name} is {value} after epoch {epoch + 1}")


def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in metrics.items()}


def _ended_early(verdict: Verdict, reports: list[Report]) -> TrainingResult:
    return TrainingResult("pruned" if verdict is Verdict.PRUNE else "stopped", reports)
