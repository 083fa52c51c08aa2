"""Small networks and the training run that the tests of the operator share."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from wconv_kernels import Densities, DensityEngine, fold, replace_convolutions

Network = Callable[[Tensor], Tensor]
MakeOptimizer = Callable[[nn.Module], Optimizer]


class Residual(nn.Module):
    """relu(x + bn(conv(x))), as in a ResNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, input: Tensor) -> Tensor:
        residual: Tensor = self.norm(self.conv(input))
        return functional.relu(input + residual)


def small_resnet(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Five 3x3 sites (one strided, one with a bias, one without a norm), a 1x1 and a head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        Residual(4),
        nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Residual(8),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).to(dtype)


def small_dncnn_5x5() -> nn.Module:
    """Two 5x5 sites and a 3x3 site, one output value per channel."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(6, 6, 5, padding=2, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).double()


def batch(step: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """The images and labels of one step."""
    generator = torch.Generator().manual_seed(100 + step)
    images = torch.randn(4, 3, 8, 8, generator=generator, dtype=dtype)
    return images, torch.randint(5, (4,), generator=generator)


def loss_of(
    model: Callable[[Tensor], Tensor], step: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """The cross entropy of one batch."""
    images, labels = batch(step, dtype)
    return functional.cross_entropy(model(images), labels)


def sgd(model: nn.Module) -> Optimizer:
    """SGD as in the classification recipes."""
    return torch.optim.SGD(
        model.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )


def adamw(model: nn.Module) -> Optimizer:
    """AdamW as in the denoising recipes."""
    return torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)


@dataclass
class Run:
    """One model in training: by the engine, or as the reference that multiplies in forward."""

    model: nn.Module
    optimizer: Optimizer
    engine: DensityEngine | None = None
    losses: list[float] = field(default_factory=list)

    def step(self, step: int) -> None:
        """Take one plain step."""
        self.optimizer.zero_grad()
        loss = loss_of(self.model, step)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.losses.append(loss.item())

    def clip(self, max_norm: float) -> Tensor:
        """Clip as this kind of run is meant to."""
        if self.engine is not None:
            return self.engine.clip_grad_norm_(max_norm)
        return nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)


def engine_run(
    model: nn.Module,
    density: Densities,
    make_optimizer: MakeOptimizer,
    grads: Literal["hook", "foreach"] = "hook",
) -> Run:
    """A copy of the model with an engine and an attached optimizer."""
    copy = deepcopy(model)
    engine = DensityEngine(copy, density, grads=grads)
    optimizer = make_optimizer(copy)
    engine.attach(optimizer)
    return Run(copy, optimizer, engine)


def reference_run(model: nn.Module, density: Densities, make_optimizer: MakeOptimizer) -> Run:
    """A copy of the model that multiplies by Phi in each forward."""
    copy = deepcopy(model)
    replace_convolutions(copy, density)
    return Run(copy, make_optimizer(copy))


def plain_run(model: nn.Module, make_optimizer: MakeOptimizer) -> Run:
    """A copy of the model without density."""
    copy = deepcopy(model)
    return Run(copy, make_optimizer(copy))


def largest_difference(run: Run, reference: Run) -> float:
    """Largest difference of any parameter or buffer, the reference being folded; 0 if bitwise.

    For an engine run the raw weights are compared as well.
    """
    expected = fold(reference.model).state_dict()
    actual = run.model.state_dict()
    assert actual.keys() == expected.keys()
    differences = [_difference(actual[name], expected[name]) for name in expected]
    if run.engine is not None:
        for name, raw in run.engine.raw_weights().items():
            differences.append(_difference(raw, reference.model.get_parameter(f"{name}.weight")))
    return max(differences)


def _difference(actual: Tensor, expected: Tensor) -> float:
    if torch.equal(actual, expected):
        return 0.0
    return float((actual.double() - expected.double()).detach().abs().max())
