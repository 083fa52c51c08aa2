"""A program that runs outside of a study: nobody listens, so reports are printed."""

import os
import pathlib
from typing import Any, Dict, Mapping, Tuple

from wconv_trial.errors import TrialError
from wconv_trial.names import DENSITY_VARIABLE

FOLDER = "wconv_alone"
"""Folder of a program outside of a study, in the current one; inside is one for each density.
Not the name of this package, which Python would look for in it."""


def description() -> Dict[str, Any]:
    """Return what the agent would say of the trial.

    Raises:
        TrialError: WCONV_DENSITY is no density.
    """
    density = _density()
    folder = pathlib.Path.cwd() / FOLDER / ",".join(map(str, density))
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "density": density,
        "seed": 0,
        "options": {},
        "folder": str(folder),
        "resumed": any(folder.iterdir()),
        "metric": None,
        "rank": int(os.environ.get("RANK", "0")),
    }


def print_metrics(what: str, metrics: Mapping[str, float]) -> None:
    """Print metrics in a line."""
    shown = ", ".join(f"{name} {metrics[name]:.6g}" for name in metrics)
    print(f"{what}: {shown}" if shown else what, flush=True)


def _density() -> Tuple[float, ...]:
    text = os.environ.get(DENSITY_VARIABLE)
    if not text:
        # Of any size, ones are plain convolution.
        return (1.0,)
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise TrialError(
            f"{DENSITY_VARIABLE} is {text!r}, which is no density. Write its coefficients "
            "outermost first, e.g. 0.8,1.1."
        ) from None
