"""Which keys of a study change what its trials cost."""

CHEAP_RECIPE = ("preset", "init", "label_smoothing", "lr_schedule")
"""Keys of a recipe that change no step's cost; with early stopping they change how many there are.
"""

_COSTLY_OF_OPTIMIZER = ("recipe.optimizer.name", "recipe.optimizer.implementation")
_CHEAP = ("recipe.optimizer.", *(f"recipe.{key}" for key in CHEAP_RECIPE))


def changes_cost(key: str) -> bool:
    """Return whether a trial may cost more or less at another value of a key in `search.also`.

    Args:
        key: in whole, as in `model.options.width`.
    """
    return key in _COSTLY_OF_OPTIMIZER or not key.startswith(_CHEAP)
