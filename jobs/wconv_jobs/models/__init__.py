"""The networks by name: one module per architecture.

A module holds a function `build` whose keyword arguments, with their annotations and defaults, are
the architecture's options; it draws no weights that `wconv_jobs.training.initialization` does not
draw again. Adding an architecture takes one module and its test.
"""

import importlib

from torch import nn

from wconv_jobs import own_code
from wconv_jobs.catalog import checked_options
from wconv_jobs.errors import JobError


def build_model(name: str, **options: object) -> nn.Module:
    """Return a new network.

    Args:
        name: a module of this package, or a function of the user's, see `wconv_jobs.own_code`.
        options: keyword arguments of its `build`; those left out take their defaults.

    Raises:
        JobError: an unknown name, an unknown option, a value that the option does not take, or a
            function of the user's that returns something else.
    """
    if own_code.is_own(name):
        network = own_code.call(name, options, {})
        if not isinstance(network, nn.Module):
            raise JobError(
                f"{name}: returned {type(network).__name__}, not a torch.nn.Module. Return the "
                "network."
            )
        return network
    checked = checked_options("models", name, options)
    model = importlib.import_module(f"{__name__}.{name}").build(**checked)
    assert isinstance(model, nn.Module)
    return model
