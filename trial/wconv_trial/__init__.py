"""Lets a training program of the user's own be a trial of a study of wconv-sweep.

    from wconv_trial import begin

    trial = begin(lr=1e-3)
    replace_convolutions(model, trial.density)  # of wconv_kernels, or a convolution of your own
    for epoch in range(first, epochs):
        ...
        if trial.report(epoch + 1, accuracy=accuracy).stop:
            return
    trial.finish(test_accuracy=test_accuracy)

Needs the standard library alone, of Python 3.8 or newer. Outside of a study the program runs as
before: with plain convolution, or the density in the variable WCONV_DENSITY, and what it reports
is printed. `wconv_trial.lightning` and `wconv_trial.transformers` have callbacks for programs with
these frameworks.

begin                    returns the trial of this process
Trial                    density, options, seed, folder; report, should_stop, finish
Answer                   what to do after a report
TrialError (ValueError)  the program has used its trial wrongly
TrialDiverged            a reported metric is not finite
"""

import sys

# Before the others, which an older Python cannot read.
if sys.version_info < (3, 8):  # noqa: UP036
    raise ImportError(
        "wconv_trial needs Python 3.8 or newer, and this is "
        + sys.version.split()[0]
        + ". Name another in trainer.python."
    )

from wconv_trial.errors import TrialDiverged, TrialError
from wconv_trial.trial import Answer, Trial, begin

__all__ = ["Answer", "Trial", "TrialDiverged", "TrialError", "begin"]
