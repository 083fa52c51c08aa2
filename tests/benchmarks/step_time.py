"""Time of a training step with a density, as ratios to the plain network.

    python tests/benchmarks/step_time.py [--quick]

Every repetition times each variant once, in random order, so that a busy machine hits all alike;
a ratio is taken within a repetition, and the table shows the median and the quartiles over the
repetitions. "plain again" is the plain network a second time: its ratio is the noise. On the CPU
the time is the process's CPU time with one intra-op thread; on CUDA it is that of CUDA events.
"""

import argparse
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wconv_kernels import DensityEngine, replace_convolutions

Step = Callable[[], None]
BASELINE = "plain"
DENSITIES = {3: (0.8,), 5: (0.6, 0.9)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and its batch."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, int, int, int]
    kernel_size: int = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all cases and print one table."""
    parser = argparse.ArgumentParser(description="Step time with a density, as ratios.")
    parser.add_argument("--quick", action="store_true", help="few repetitions, about 30 s")
    quick = parser.parse_args(arguments).quick
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    repetitions = 20 if quick else 150
    processor = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(f"torch {torch.__version__}, {processor}, {repetitions} repetitions, ", end="")
    print("median ratio to the plain step [quartiles]\n")
    for case in CASES:
        _print_case(case, _time_case(case, device, repetitions))


def dncnn(kernel_size: int) -> nn.Module:
    """Eight layers of 32 channels, as in DnCNN; the residual is added outside."""
    inner: list[nn.Module] = []
    for _ in range(6):
        conv = nn.Conv2d(32, 32, kernel_size, padding="same", bias=False)
        inner += [conv, nn.BatchNorm2d(32), nn.ReLU()]
    first = nn.Conv2d(3, 32, kernel_size, padding="same")
    last = nn.Conv2d(32, 3, kernel_size, padding="same")
    return nn.Sequential(first, nn.ReLU(), *inner, last)


class Block(nn.Module):
    """Two convolutions with an identity around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, input: Tensor) -> Tensor:
        return functional.relu(input + self.body(input))


def resnet() -> nn.Module:
    """Nineteen 3x3 convolutions of 16, 32 and 64 channels, as in ResNet-20 for CIFAR."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for channels in (16, 32, 64):
        if channels > 16:
            layers.append(nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1))
        layers += [Block(channels) for _ in range(3 if channels == 16 else 2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 10, 1))


CASES = (
    Case(name="ResNet-like, batch 2", build=resnet, shape=(2, 3, 32, 32)),
    Case(name="ResNet-like, batch 8", build=resnet, shape=(8, 3, 32, 32)),
    Case(name="DnCNN-like 3x3, batch 4", build=lambda: dncnn(3), shape=(4, 3, 40, 40)),
    Case(
        name="DnCNN-like 5x5, batch 4",
        build=lambda: dncnn(5),
        shape=(4, 3, 40, 40),
        kernel_size=5,
    ),
)


def _variants(case: Case, device: str) -> dict[str, Step]:
    torch.manual_seed(0)
    network = case.build().to(device)
    images = torch.randn(case.shape, device=device)
    density = DENSITIES[case.kernel_size]

    def step(model: nn.Module, engine: DensityEngine | None = None) -> Step:
        optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
        if engine is not None:
            engine.attach(optimizer)

        def run() -> None:
            optimizer.zero_grad()
            torch.autograd.backward(model(images).square().mean())
            optimizer.step()

        return run

    weighted, hook, foreach = (deepcopy(network) for _ in range(3))
    replace_convolutions(weighted, density)
    return {
        BASELINE: step(deepcopy(network)),
        "plain again": step(deepcopy(network)),
        "multiply in forward": step(weighted),
        "engine, hook": step(hook, DensityEngine(hook, density)),
        "engine, foreach": step(foreach, DensityEngine(foreach, density, grads="foreach")),
    }


def _time_case(case: Case, device: str, repetitions: int) -> dict[str, list[float]]:
    variants = _variants(case, device)
    order = random.Random(0)
    for step in variants.values():
        for _ in range(3):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repetitions):
        for name in order.sample(list(variants), len(variants)):
            seconds[name].append(_time(variants[name], device))
    return seconds


def _time(step: Step, device: str) -> float:
    if device == "cpu":
        start_s = time.process_time()
        step()
        return time.process_time() - start_s
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
    torch.cuda.synchronize()
    start.record()
    step()
    end.record()
    torch.cuda.synchronize()
    elapsed_ms: float = start.elapsed_time(end)
    return elapsed_ms / 1000


def _print_case(case: Case, seconds: dict[str, list[float]]) -> None:
    plain_ms = 1000 * statistics.median(seconds[BASELINE])
    print(f"{case.name} (plain step {plain_ms:.1f} ms)")
    for name, times in seconds.items():
        if name != BASELINE:
            pairs = zip(times, seconds[BASELINE], strict=True)
            low, median, high = statistics.quantiles((a / b for a, b in pairs), n=4)
            print(f"  {name:<20} {median:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
