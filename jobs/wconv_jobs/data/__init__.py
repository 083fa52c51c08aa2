"""The data sets by name: one module per data set, which is a `DataSet`.

Adding a data set takes one module and its test. Importing this package does not import torch.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from wconv_jobs import own_code
from wconv_jobs.catalog import Progress, data_kind, data_options
from wconv_jobs.kinds import TaskKind
from wconv_jobs.seeding import derive_seed, drawing_from
from wconv_jobs.spec import DataSpec
from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    import torch

    from wconv_jobs.tasks.task import Task

OptionsT = TypeVar("OptionsT", bound=Spec)


class DataSet(Protocol[OptionsT]):
    """What a module of this package holds.

    Login nodes import the module, too: it imports torch inside the functions that need it. A file
    or an option that cannot be used is a `JobError`, which says what to do.
    """

    @property
    def KIND(self) -> TaskKind:
        """The kind of task, a literal: it is read from the source text as well."""

    @property
    def SMOKE(self) -> Mapping[str, object]:
        """The options that make the data set small enough for a smoke run."""

    @property
    def Options(self) -> type[OptionsT]:
        """The options, declared once: types, limits, defaults, and a string below each for the
        documentation. Every function gets them checked."""

    def load(self, options: OptionsT, *, seed: int, device: "torch.device | str") -> "Task":
        """Return the data with their loss and metrics; every rank calls it, all at once.

        Args:
            options: of the study.
            seed: source of every random choice, see `wconv_jobs.tasks.task.Task`.
            device: of the batches.
        """

    def sample_shape(self, options: OptionsT) -> tuple[int, ...]:
        """Return the shape of a training sample, the channels first; looks at no file."""


class FileDataSet(DataSet[OptionsT], Protocol[OptionsT]):
    """A data set that reads the user's files, which are in the folder of its option `folder`.

    A module whose synthetic data have a number of classes of their own gives it as a constant
    `SMOKE_CLASSES`.
    """

    def check(self, options: OptionsT, *, thorough: bool) -> list[str]:
        """Return one sentence per problem with the files; raises none.

        Args:
            options: of the study.
            thorough: read the files from end to end; otherwise take seconds at the most, and find
                what a training run would stumble over.
        """

    def checksums(self, options: OptionsT) -> dict[str, str]:
        """Return the SHA-256 of what is known at once, by name: the provenance of a trial."""

    def generate(self, folder: Path) -> None:
        """Write small synthetic data in the file format; the same files each time."""


class PreparedDataSet(FileDataSet[OptionsT], Protocol[OptionsT]):
    """A data set that training does not read as the user's files are."""

    def prepare(self, options: OptionsT, on_progress: Progress) -> None:
        """Write the form that training reads, unless it is there.

        Several processes may do so at once, and any of them may be killed: what is there is whole,
        see `wconv_jobs.files.prepared`.
        """


def load_task(spec: DataSpec, *, seed: int, device: "torch.device | str" = "cpu") -> "Task":
    """Return the data set that a study names, also a function of the user's.

    Args:
        spec: the data set.
        seed: as for `load_data`; a function of the user's gets it if it takes a `seed`.
        device: as for `load_data`.

    Raises:
        JobError: as `load_data`, or the function returns no data set.
    """
    if not own_code.is_own(spec.name):
        return load_data(spec.name, seed=seed, device=device, **spec.options)
    # Imported here, see above.
    from wconv_jobs.tasks.tensors import task_of

    with drawing_from(derive_seed(seed, "data")):
        returned = own_code.call(spec.name, spec.options, {"seed": seed, "device": device})
    kind = data_kind(spec.name, spec.kind)
    return task_of(returned, spec.name, kind=kind, seed=seed, device=device)


def load_data(
    name: str, *, seed: int, device: "torch.device | str" = "cpu", **options: object
) -> "Task":
    """Return a data set with its loss and metrics.

    Args:
        name: a module of this package.
        seed: source of every random choice, see `wconv_jobs.tasks.task.Task`.
        device: of the batches; the data themselves lie there, too, when they fit.
        options: its options; those left out take their defaults.

    Raises:
        JobError: an unknown name, an unknown option, a value that the option does not take, or
            files that cannot be used.
    """
    checked = data_options(name, options)
    data_set: DataSet[Any] = importlib.import_module(f"{__name__}.{name}")
    return data_set.load(checked, seed=seed, device=device)
