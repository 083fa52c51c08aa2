"""The learning-rate schedules by name: the keys of each, and the learning rate of every step.

A new one is a class here and a member of `LrScheduleSpec`. The learning rate is a pure function of
the step of the optimizer, counted from 0 over all epochs, so that a run can go on after any step,
and on any number of ranks, as if nothing had happened.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True)
class Run:
    """What a schedule is laid over."""

    steps_per_epoch: int
    epochs: int
    lr: float
    """That of the optimizer."""


class _Schedule(Spec, ABC):
    """What training asks of each schedule, and the warm-up that each can begin with."""

    name: str
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs over whose W steps the learning rate rises linearly: lr / (W + 1) at the first step,
    lr at the first one after them. The schedule begins there."""

    @property
    def options(self) -> dict[str, object]:
        """Those that are not the default."""
        return self.model_dump(exclude={"name"}, exclude_defaults=True)

    @property
    def summary(self) -> str:
        """The name, with the options that are not the default."""
        text = ", ".join(f"{key} {value}" for key, value in self.options.items())
        return f"{self.name} ({text})" if text else self.name

    def factor(self, step: int, run: Run) -> float:
        """Return the learning rate of a step, counted from 0, as a multiple of `run.lr`."""
        warmup = self.warmup_epochs * run.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self._factor_after_warmup(step, run, warmup)

    @abstractmethod
    def _factor_after_warmup(self, step: int, run: Run, warmup: int) -> float:
        """Return the same for a step that is not among the first `warmup`."""

    def build(self, optimizer: "Optimizer", *, steps_per_epoch: int, epochs: int) -> "LRScheduler":
        """Return the scheduler of an optimizer, to be stepped after each of its steps."""
        from torch.optim.lr_scheduler import LambdaLR

        run = Run(steps_per_epoch, epochs, optimizer.defaults["lr"])
        return LambdaLR(optimizer, lambda step: self.factor(step, run))


class ConstantSpec(_Schedule):
    """The optimizer's learning rate at every step."""

    name: Literal["constant"]

    def _factor_after_warmup(self, step: int, run: Run, warmup: int) -> float:
        return 1.0


class CosineSpec(_Schedule):
    """Half a period of a cosine, from the optimizer's learning rate to `min_lr` after the last
    step: `torch.optim.lr_scheduler.CosineAnnealingLR`, called after every step."""

    name: Literal["cosine"]
    min_lr: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Learning rate that cosine ends at."""

    def _factor_after_warmup(self, step: int, run: Run, warmup: int) -> float:
        steps = run.steps_per_epoch * run.epochs
        lowest = self.min_lr / run.lr
        fallen = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        return lowest + (1 - lowest) * fallen


class StepSpec(_Schedule):
    """The learning rate is multiplied by `gamma` after each of some epochs:
    `torch.optim.lr_scheduler.MultiStepLR`."""

    name: Literal["step"]
    milestone_epochs: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Epochs, in ascending order, after which the learning rate falls; those of the warm-up
    count, too."""
    gamma: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.1
    """Factor of each fall."""

    @model_validator(mode="after")
    def _milestones_ascend_after_the_warmup(self) -> Self:
        for one, next_one in pairwise([0, *self.milestone_epochs]):
            if next_one <= one:
                raise ValueError(f"milestone_epochs {self.milestone_epochs} must ascend")
        if self.milestone_epochs[0] < self.warmup_epochs:
            raise ValueError(
                f"milestone_epochs begins with {self.milestone_epochs[0]}, which lies in the "
                f"warm-up of {self.warmup_epochs} epochs"
            )
        return self

    def _factor_after_warmup(self, step: int, run: Run, warmup: int) -> float:
        epochs = step // run.steps_per_epoch
        passed = sum(milestone <= epochs for milestone in self.milestone_epochs)
        return float(self.gamma**passed)


def _table(value: object) -> object:
    """Return the table that a name alone stands for."""
    return {"name": value} if isinstance(value, str) else value


LrScheduleSpec = Annotated[
    ConstantSpec | CosineSpec | StepSpec, Field(discriminator="name"), BeforeValidator(_table)
]
