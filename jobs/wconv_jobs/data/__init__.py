"""The data sets by name: one module per data set.

A module holds

* a function `load`, whose keyword arguments other than `seed` and `device`, with their annotations
  and defaults, are the data set's options;
* a literal `KIND`, see `wconv_jobs.kinds`, and a literal `SMOKE`, the options of a smoke run;
* a function `sample_shape(**options)`, (channels, height, width) of a training sample.

One that reads the user's files in a folder, its option `folder`, has as well

* a function `check(*, thorough, **options)`, which returns one sentence per problem;
* a function `checksums(**options)`, which returns the SHA-256 sums that are known without
  reading the data, by name;
* a function `generate(folder)`, which writes small synthetic data in its file format, and a
  literal `SMOKE_CLASSES` where these have a number of classes of their own;
* where training does not read the files as they are, a function `prepare(*, on_progress,
  **options)`, see `wconv_jobs.files.prepared`.

These are called on login nodes: such a module does not import torch at the top. Adding a data set
takes one module and its test. Importing this package does not import torch.
"""

import importlib
from typing import TYPE_CHECKING

from wconv_jobs import own_code
from wconv_jobs.catalog import checked_options, data_kind
from wconv_jobs.seeding import derive_seed, drawing_from
from wconv_jobs.spec import DataSpec

if TYPE_CHECKING:
    import torch

    from wconv_jobs.tasks.task import Task


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
        seed: seed of every random choice, see `wconv_jobs.tasks.task.Task`.
        device: of the batches; the data themselves lie there, too, when they fit.
        options: keyword arguments of its `load`; those left out take their defaults.

    Raises:
        JobError: an unknown name, an unknown option, a value that the option does not take, or
            files that cannot be used.
    """
    checked = checked_options("data", name, options)
    task: Task = importlib.import_module(f"{__name__}.{name}").load(
        seed=seed, device=device, **checked
    )
    return task
