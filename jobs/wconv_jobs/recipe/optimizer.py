"""The optimizers by name: the keys of each, and the torch.optim class that it builds.

A new one is a class here and a member of `OptimizerSpec`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

Implementation = Literal["loop", "foreach", "fused"]


class _Optimizer(Spec, ABC):
    """What training asks of each optimizer."""

    name: str
    lr: Annotated[FiniteFloat, Field(gt=0)]
    implementation: Implementation | None = None
    """How PyTorch takes the step: parameter by parameter, operation by operation for all of them,
    or all at once. Results differ by rounding; null: its own choice, `foreach` on GPUs and `loop`
    on CPUs."""

    @property
    @abstractmethod
    def states_per_parameter(self) -> int:
        """Tensors of a parameter's size that the optimizer keeps for each parameter."""

    @abstractmethod
    def build(self, parameters: "Iterable[Tensor]") -> "Optimizer":
        """Return the optimizer of these parameters."""

    def _arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of its class in torch.optim."""
        chosen: dict[str, Any] = self.model_dump(exclude={"name", "implementation"})
        if self.implementation is None:
            return chosen
        return chosen | {kind: self.implementation == kind for kind in ("foreach", "fused")}


class SgdSpec(_Optimizer):
    """torch.optim.SGD."""

    name: Literal["sgd"]
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def states_per_parameter(self) -> int:
        """The running mean of the gradient, if there is momentum."""
        return int(self.momentum > 0)

    def build(self, parameters: "Iterable[Tensor]") -> "Optimizer":
        """Return the optimizer of these parameters."""
        from torch.optim import SGD

        return SGD(parameters, **self._arguments())


_Beta = Annotated[FiniteFloat, Field(ge=0, lt=1)]


class AdamSpec(_Optimizer):
    """torch.optim.Adam, or torch.optim.AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    betas: tuple[_Beta, _Beta] = Field(default=(0.9, 0.999), strict=False)
    eps: Annotated[FiniteFloat, Field(gt=0)] = 1e-8
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @property
    def states_per_parameter(self) -> int:
        """The running means of the gradient and of its square."""
        return 2

    def build(self, parameters: "Iterable[Tensor]") -> "Optimizer":
        """Return the optimizer of these parameters."""
        from torch.optim import Adam, AdamW

        kind = Adam if self.name == "adam" else AdamW
        return kind(parameters, **self._arguments())


OptimizerSpec = Annotated[SgdSpec | AdamSpec, Field(discriminator="name")]
