"""What one trial trains: the typed, JSON-serialisable order that an agent hands to its ranks.

Importing this module does not import torch. Densities list their coefficients outermost first.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from wconv_jobs.kinds import TaskKind

CHECKPOINT_FILE = "checkpoint.pt"
"""Name of a trial's checkpoint in its `checkpoint_folder`."""

CONFUSION_FILE = "test_confusion.csv"
"""Name of a classifier's confusion matrix in that folder: a line for each class, with the number
of its test samples that were taken for each class."""

TEST_IMAGE_FILE = "test_image_{}.png"
"""Name of a test image before and after a denoiser in that folder, numbered from 1, see
`wconv_jobs.artifacts.before_after`."""

Option = bool | int | FiniteFloat | str | list[bool | int | FiniteFloat | str]


class Spec(BaseModel):
    """Base of everything read from a file: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class ModelSpec(Spec):
    """A network by name."""

    name: str
    """A module of `wconv_jobs.models`, or a function of yours, `package.module:function`."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of its builder; what is left out takes the builder's default."""


class DataSpec(Spec):
    """A data set by name."""

    name: str
    """A module of `wconv_jobs.data`, or a function of yours, `package.module:function`."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of its loader; what is left out takes the loader's default."""
    kind: TaskKind | None = None
    """Task of a function of yours; what comes with the program knows its own."""


class SgdSpec(Spec):
    """torch.optim.SGD."""

    name: Literal["sgd"]
    lr: Annotated[FiniteFloat, Field(gt=0)]
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


_Beta = Annotated[FiniteFloat, Field(ge=0, lt=1)]


class AdamSpec(Spec):
    """torch.optim.Adam, or torch.optim.AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    lr: Annotated[FiniteFloat, Field(gt=0)]
    betas: tuple[_Beta, _Beta] = Field(default=(0.9, 0.999), strict=False)
    eps: Annotated[FiniteFloat, Field(gt=0)] = 1e-8
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 0.0


OptimizerSpec = Annotated[SgdSpec | AdamSpec, Field(discriminator="name")]


class EarlyStoppingSpec(Spec):
    """Training ends when the validation loss no longer falls, and the weights of the last epoch
    in which it fell are tested."""

    patience: Annotated[int, Field(ge=1)]
    """Epochs without a new lowest loss after which training ends."""
    min_delta: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """By how much a loss must lie below the lowest one to count."""


Preset = Literal["paper", "tuned"]


class RecipeSpec(Spec):
    """How a network is trained."""

    preset: Preset | None = None
    """Recipe that keys left out are taken from; null: from the defaults below."""
    optimizer: OptimizerSpec
    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate over the run, set once per optimizer step; cosine ends at 0."""
    epochs: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    """Samples per optimizer step, summed over all ranks of the trial; what an epoch has left after
    its last whole batch is not shown."""
    batch_norm_over: Literal["batch", "rank"] = "batch"
    """Whose samples BatchNorm takes its statistics from: those of all ranks, so that the result
    does not depend on their number, or of each rank for itself, which saves the communication."""
    init: Literal["pytorch", "kaiming", "paper"] = "kaiming"
    """Initial weights, the same for every density: see `wconv_jobs.training.initialization`."""
    clip_grad_norm: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Upper bound of the gradient's global norm; null does not clip."""
    early_stopping: EarlyStoppingSpec | None = None
    """Null trains all epochs and tests the weights of the last one."""
    label_smoothing: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of parameters and data."""
    amp: Literal["none", "bfloat16"] = "none"
    """Autocast of forward and loss."""
    test_metrics: list[str] = Field(default_factory=list)
    """Metrics of the test set beside those of every epoch, for they take long: uiq, uiq_global,
    fsim, fsimc."""

    @model_validator(mode="after")
    def _amp_needs_float32(self) -> Self:
        if self.amp != "none" and self.dtype != "float32":
            raise ValueError(f"amp: {self.amp} needs dtype: float32")
        return self


Ablation = Literal["none", "initial weights", "gradient"]


class TrialSpec(Spec):
    """Everything a rank needs to train one trial; nothing in it names a study or a database."""

    model: ModelSpec
    data: DataSpec
    recipe: RecipeSpec
    density: tuple[FiniteFloat, ...] = Field(strict=False, min_length=1)
    """Coefficients, outermost first; all ones is plain convolution."""
    study_seed: Annotated[int, Field(ge=0)]
    replicate: Annotated[int, Field(ge=0)] = 0
    """Trials of one replicate share initial weights, data order and noise."""
    ablation: Ablation = "none"
    """Which half of the density's effect plain convolution gets: see
    `wconv_jobs.training.ablation`."""
    threads_per_rank: Annotated[int, Field(ge=1)] = 1
    """CPU threads of each rank."""
    checkpoint_folder: Path = Field(strict=False)
    code_folder: Path | None = Field(default=None, strict=False)
    """Where modules of the user's are looked for, if the study names any."""
    deadline_s: FiniteFloat | None = None
    """Unix time from which on the ranks end at a checkpoint, after the next step; null has no
    limit."""
    checkpoint_every_s: Annotated[FiniteFloat, Field(gt=0)] = 600.0
    """Longest time without a checkpoint, seconds. One is written after each epoch in any case;
    those within a longer one bound what a power cut costs."""

    @property
    def kernel_size(self) -> int:
        """k = 2n + 1 for n coefficients."""
        return 2 * len(self.density) + 1
