"""The errors of a program that takes part in a study."""


class TrialError(ValueError):
    """The program has used its trial wrongly; the message says how, and what to do."""


class TrialDiverged(ArithmeticError):
    """A reported metric is not finite; the message says which, and at which step."""
