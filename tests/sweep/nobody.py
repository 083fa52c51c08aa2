"""Somebody else on the machine, for tests of what a colleague may read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody who may read no folder of mode 0700 but his own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who alone can be another user")
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
