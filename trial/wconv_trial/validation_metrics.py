"""What a framework has logged, as metrics of a report."""

import re
from typing import Any, Dict, Mapping, Tuple


def validation_metrics(logged: Mapping[str, Any], prefixes: Tuple[str, ...]) -> Dict[str, float]:
    """Return the numbers among what was logged, by names that a study can use.

    A prefix of the validation set is dropped, so that an objective has the name that the test set
    has behind `test_`; other characters than letters, digits and _ become _.

    Args:
        logged: numbers by name; tensors of one element are numbers, other values are left out.
        prefixes: of the validation set, e.g. val_.
    """
    others: Dict[str, float] = {}
    ours: Dict[str, float] = {}
    for name, value in logged.items():
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            continue
        prefix = next((each for each in prefixes if name.startswith(each)), "")
        found = ours if prefix else others
        found[re.sub(r"\W", "_", name[len(prefix) :])] = number
    metrics = dict(others, **ours)
    metrics.pop("step", None)  # a report has its own
    return metrics
