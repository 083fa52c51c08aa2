"""The definition of one trial: the typed, JSON-serializable order from an agent to its ranks.

Importing this module does not import torch. Densities list their coefficients outermost first.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.kinds import TaskKind
from wconv_jobs.own_code import is_own
from wconv_jobs.recipe.lr_schedule import CosineSpec, LrScheduleSpec
from wconv_jobs.recipe.optimizer import OptimizerSpec
from wconv_jobs.spec_base import Spec

CHECKPOINT_FILE = "checkpoint.pt"
"""Name of a trial's checkpoint in its `checkpoint_folder`."""

CONFUSION_FILE = "test_confusion.csv"
"""Name of a classifier's confusion matrix in that folder: a line for each class, with the number
of its test samples that were taken for each class."""

TEST_IMAGE_FILE = "test_image_{}.png"
"""Name of a test image before and after a denoiser in that folder, numbered from 1, see
`wconv_jobs.artifacts.before_after`."""

Density = tuple[float, ...]
"""Coefficients of a density, outermost first; all ones is plain convolution."""

Option = bool | int | FiniteFloat | str | list[bool | int | FiniteFloat | str]


class ModelSpec(Spec):
    """A network by name."""

    name: str
    """A module of `wconv_jobs.models`, or a function of yours, `package.module:function`."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of its builder; missing ones take the builder's default."""


class DataSpec(Spec):
    """A data set by name."""

    name: str
    """A module of `wconv_jobs.data`, or a function of yours, `package.module:function`."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of its loader; missing ones take the loader's default."""
    kind: TaskKind | None = None
    """Task of a function of yours; shipped data sets know their own."""


class EarlyStoppingSpec(Spec):
    """Training ends when the validation loss no longer falls, and the weights of the last epoch
    in which it fell are tested."""

    patience: Annotated[int, Field(ge=1)]
    """Epochs without a new lowest loss after which training ends."""
    min_delta: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Minimum decrease of the lowest loss that counts."""


class SitesSpec(Spec):
    """Which convolutions of the density's size it scales; the others stay plain."""

    include: list[str] | None = None
    """Names of layers, or patterns such as `encoder.*`; null: all."""
    exclude: list[str] = Field(default_factory=list)
    """Names or patterns of layers that stay plain."""


Preset = Literal["paper", "tuned"]

MemoryFormat = Literal["contiguous", "channels_last"]

Compile = bool | Literal["reduce-overhead"]


class RecipeSpec(Spec):
    """The training recipe of a network."""

    preset: Preset | None = None
    """Recipe that supplies missing keys; null: the defaults below."""
    optimizer: OptimizerSpec
    lr_schedule: LrScheduleSpec = CosineSpec(name="cosine")
    """Learning rate over the run, set before each step of the optimizer. The name alone stands
    for a table without options: `lr_schedule: cosine`."""
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
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
    memory_format: MemoryFormat | None = None
    """Order of images and weights in memory, which changes the speed, and results by rounding;
    null: `channels_last`, the faster one, for networks that come with the program, in float32;
    else `contiguous`, which every network takes."""
    compile: Compile = False
    """Whether training steps run the network as torch.compile makes it, which changes results by
    rounding; `reduce-overhead` also replays them as CUDA graphs. Compared with eager steps before
    training."""
    test_metrics: list[str] = Field(default_factory=list)
    """Metrics of the test set beside those of every epoch, for they take long: uiq, uiq_global,
    fsim, fsimc."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        warmup_epochs = self.lr_schedule.warmup_epochs
        if warmup_epochs >= self.epochs:
            raise ValueError(
                f"lr_schedule.warmup_epochs is {warmup_epochs}, but epochs is {self.epochs}: the "
                "learning rate would rise to the end. Warm up over fewer epochs"
            )
        if (
            isinstance(self.lr_schedule, CosineSpec)
            and self.lr_schedule.min_lr > self.optimizer.lr
        ):
            raise ValueError(
                f"lr_schedule.min_lr is {self.lr_schedule.min_lr:g}, which is above optimizer.lr "
                f"({self.optimizer.lr:g})"
            )
        return self

    @model_validator(mode="after")
    def _amp_needs_float32(self) -> Self:
        if self.amp != "none" and self.dtype != "float32":
            raise ValueError(f"amp: {self.amp} needs dtype: float32")
        return self

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain data, with defaults filled in.

        Without keys that are younger than studies and checkpoints, where they say what was so
        before: `memory_format: contiguous`, no `compile`, no `implementation` of the optimizer.
        """
        plain = self.model_dump(mode="json")
        if self.memory_format == "contiguous":
            del plain["memory_format"]
        if not self.compile:
            del plain["compile"]
        if self.optimizer.implementation is None:
            del plain["optimizer"]["implementation"]
        return plain


def default_memory_format(model: ModelSpec, recipe: RecipeSpec) -> MemoryFormat:
    """Return the order in memory where `memory_format` of the recipe is null.

    In float64, PyTorch has no convolution for it on a CPU that is as fast. A network of the user's
    may look at its activations through `view`, which only takes the other.
    """
    shipped = not is_own(model.name)
    return "channels_last" if shipped and recipe.dtype == "float32" else "contiguous"


Ablation = Literal["none", "initial weights", "gradient"]


class TrialSpec(Spec):
    """Everything a rank needs to train one trial; nothing in it names a study or a database."""

    model: ModelSpec
    data: DataSpec
    recipe: RecipeSpec
    density: tuple[FiniteFloat, ...] = Field(strict=False, min_length=1)
    """A `Density`."""
    study_seed: Annotated[int, Field(ge=0)]
    replicate: Annotated[int, Field(ge=0)] = 0
    """Seed index: trials of one index share initial weights, data order and noise."""
    ablation: Ablation = "none"
    """The half of the density's effect that plain convolution gets: see
    `wconv_jobs.training.ablation`."""
    sites: SitesSpec = SitesSpec()
    threads_per_rank: Annotated[int, Field(ge=1)] = 1
    """CPU threads of each rank."""
    checkpoint_folder: Path = Field(strict=False)
    code_folder: Path | None = Field(default=None, strict=False)
    """Folder of the user's modules, if the study names any."""
    deadline_s: FiniteFloat | None = None
    """Unix time from which on the ranks end at a checkpoint, after the next step; null has no
    limit."""
    checkpoint_every_s: Annotated[FiniteFloat, Field(gt=0)] = 600.0
    """Longest time without a checkpoint, seconds. One is written after each epoch in any case;
    those within a longer one bound what a power cut costs."""

    @property
    def memory_format(self) -> MemoryFormat:
        """Order of images and weights in memory."""
        return self.recipe.memory_format or default_memory_format(self.model, self.recipe)

    @property
    def kernel_size(self) -> int:
        """k = 2n + 1 for n coefficients."""
        return 2 * len(self.density) + 1
