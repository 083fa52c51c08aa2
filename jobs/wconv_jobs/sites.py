"""Errors about the sites of a network, in the words of a study file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from wconv_kernels import SiteError


@contextmanager
def in_study_words() -> Iterator[None]:
    """Let a `SiteError` name the key of the study in place of the argument of Python.

    Raises:
        SiteError: the block raised one.
    """
    try:
        yield
    except SiteError as error:
        if error.layer is None:
            raise
        argument = f"exclude=[{error.layer!r}]"
        # In quotes: a layer of a Sequential is called "0", which YAML would take for a number.
        key = f"`sites: {{exclude: [{json.dumps(error.layer)}]}}` in the study"
        raise SiteError(str(error).replace(argument, key), layer=error.layer) from error
