"""Time of a training step with images and weights in the order channels_last, for each network.

Prints a Markdown table: both orders take turns, on one core and in float32; a ratio is the median
of CPU times over that of `contiguous`. Batches are small, since the ratio is what counts.
"""

import statistics
import time

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wconv_jobs.memory_format import arrange, arranged
from wconv_jobs.models import build_model
from wconv_jobs.spec import MemoryFormat
from wconv_sweep.study.files import load_study

STUDIES = (
    *("quickstart", "dncnn_3x3", "dncnn_5x5", "cgnet_3x3", "nafnet_3x3", "nin_3x3"),
    *("resnet56_3x3", "vgg16_3x3", "gmlp_3x3"),
)
WARM_UP, REPEATS = 2, 8
FORMATS: tuple[MemoryFormat, ...] = ("contiguous", "channels_last")


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print("| study | step, contiguous, CPU ms | channels_last |\n|---|---|---|")
    for study in STUDIES:
        config = load_study(study)
        is_denoiser = config.objective.metric == "psnr_db"
        shape = (2, 3, 64, 64) if is_denoiser else (32, 3, 32, 32)
        networks: list[tuple[nn.Module, Optimizer, Tensor]] = []
        for memory_format in FORMATS:
            torch.manual_seed(0)
            model = build_model(config.model.name, **config.model.options)
            arrange(model, memory_format)
            images_BCHW = arranged(torch.rand(shape), memory_format)
            networks.append(
                (model, config.recipe.optimizer.build(model.parameters()), images_BCHW)
            )
        times_s: list[list[float]] = [[], []]
        for _ in range(WARM_UP + REPEATS):
            for network, taken_s in zip(networks, times_s, strict=True):
                taken_s.append(step_s(*network))
        plain_s, other_s = (statistics.median(taken_s[WARM_UP:]) for taken_s in times_s)
        print(f"| {study} | {1e3 * plain_s:.1f} | {other_s / plain_s:.2f} |", flush=True)


def step_s(model: nn.Module, optimizer: Optimizer, images_BCHW: Tensor) -> float:
    """Return the CPU time of a training step, seconds."""
    started_s = time.process_time()
    loss = model(images_BCHW).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.process_time() - started_s


if __name__ == "__main__":
    main()
