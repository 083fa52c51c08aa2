"""The optimizers by name: the keys of each, and the torch.optim class that it builds.

A new one is a class here and a member of `OptimizerSpec`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from wconv_jobs.spec_base import Spec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class _Optimizer(Spec, ABC):
    """What training asks of each optimizer."""

    name: str
    lr: Annotated[FiniteFloat, Field(gt=0)]

    @property
    @abstractmethod
    def states_per_parameter(self) -> int:
        """Tensors of a parameter's size that the optimizer keeps for each parameter."""

    @abstractmethod
    def build(self, parameters: "Iterable[Tensor]") -> "Optimizer":
        """Return the optimizer of these parameters."""


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

        return SGD(parameters, **self.model_dump(exclude={"name"}))


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
        return kind(parameters, **self.model_dump(exclude={"name"}))


OptimizerSpec = Annotated[SgdSpec | AdamSpec, Field(discriminator="name")]
