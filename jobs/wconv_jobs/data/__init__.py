"""The data sets by name: one module per data set.

A module holds a function `load` whose keyword arguments other than `seed`, with their annotations
and defaults, are the data set's options, and the names of its metrics as a literal `METRICS`. One
that reads the user's files has a function `check`, too, called on login nodes (see
`wconv_jobs.catalog.check_data`). Adding a data set takes one module and its test. Importing this
package does not import torch.
"""

import importlib
from typing import TYPE_CHECKING

from wconv_jobs.catalog import checked_options

if TYPE_CHECKING:
    from wconv_jobs.task import Task


def load_data(name: str, *, seed: int, **options: object) -> "Task":
    """Return a data set with its loss and metrics.

    Args:
        name: a module of this package.
        seed: source of every random choice, see `wconv_jobs.task.Task`.
        options: keyword arguments of its `load`; those left out take their defaults.

    Raises:
        JobError: an unknown name, an unknown option, a value that the option does not take, or
            files that cannot be used.
    """
    checked = checked_options("data", name, options)
    task: Task = importlib.import_module(f"{__name__}.{name}").load(seed=seed, **checked)
    return task
