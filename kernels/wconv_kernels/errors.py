"""The errors of this package.

ValueError
|-- DensityError   the density itself is wrong
|-- SiteError      the model has no place, or no clear place, for the density
`-- WeightsError   a file of weights, or what is to be made of it, cannot be used
RuntimeError
`-- EngineError    a DensityEngine was used in a way that would train another network
"""


class DensityError(ValueError):
    """The density, the density kernel or the kernel size is not a legal one."""


class SiteError(ValueError):
    """The convolutions on which the density should act cannot be found or told apart."""

    def __init__(self, message: str, *, layer: str | None = None) -> None:
        """Keep the message.

        Args:
            message: what is wrong, and what to do.
            layer: name of the layer to leave out with `exclude`, if that is a remedy.
        """
        super().__init__(message)
        self.layer = layer


class WeightsError(ValueError):
    """A file of weights cannot be folded; the message says why, and what to do."""


class EngineError(RuntimeError):
    """A DensityEngine was used in an order or with an optimizer that it cannot serve."""
