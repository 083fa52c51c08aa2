"""What a user writes without this program: a worker of an Optuna study that trains in its process.

    python plain_optuna_worker.py STORAGE TRIALS STEPS

Several of them share the study, which is there. A trial is one of `trial_overhead`'s study: the
quickstart's network and images with weighted convolutions, as many steps, and a score of the
validation image.
"""

import sys
from importlib.resources import files
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

STUDY = "plain"
WIDTH, DEPTH, BATCH, CROP_PX = 16, 5, 8, 48
NOISE = 25 / 255
TRAIN = ("coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")

# Shape letters: B batch, C channels, H height, W width.


class Weighted(nn.Conv2d):
    """A convolution whose kernel is multiplied by a density before each use."""

    density_HW: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution."""
        kernel = self.weight * self.density_HW
        return F.conv2d(input, kernel, self.bias, self.stride, self.padding)


def main() -> None:
    """Work on the study until it has its trials."""
    import optuna  # here: jobs of `hydra_app`, which train the same trials, do without

    storage, trials, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=STUDY, storage=storage)
    study.optimize(
        lambda trial: score(trial.suggest_float("density", 0.5, 1.5), steps),
        callbacks=[optuna.study.MaxTrialsCallback(trials)],
    )


def score(density: float, steps: int) -> float:
    """Train a network and return its PSNR on the validation image, dB."""
    torch.manual_seed(0)
    drawn = torch.Generator().manual_seed(0)
    network = network_of(density)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    images = [image(name) for name in TRAIN]
    for _ in range(steps):
        clean_BCHW = torch.stack([crop(images, drawn) for _ in range(BATCH)]).float() / 255
        noisy_BCHW = clean_BCHW + NOISE * torch.randn(clean_BCHW.shape, generator=drawn)
        loss = F.mse_loss(noisy_BCHW - network(noisy_BCHW), clean_BCHW)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        clean_BCHW = image("chelsea.png")[None].float() / 255
        noisy_BCHW = clean_BCHW + NOISE * torch.randn(clean_BCHW.shape, generator=drawn)
        restored_BCHW = noisy_BCHW - network(noisy_BCHW)
        return -10 * F.mse_loss(restored_BCHW, clean_BCHW).log10().item()


def network_of(density: float) -> nn.Module:
    """Return a DnCNN without normalization and with weighted convolutions."""
    layers: list[nn.Module] = []
    channels = [3, *[WIDTH] * (DEPTH - 1), 3]
    alpha = torch.tensor([density, 1.0, density])
    for before, after in pairwise(channels):
        layer = Weighted(before, after, 3, padding=1)
        layer.register_buffer("density_HW", alpha.outer(alpha))
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def image(name: str) -> Tensor:
    """Return a photograph of scikit-image, uint8 (C, H, W)."""
    with Image.open(str(files("skimage") / "data" / name)) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)


def crop(images: list[Tensor], drawn: torch.Generator) -> Tensor:
    """Return a square of an image at random, uint8 (C, H, W)."""
    chosen = images[int(torch.randint(len(images), (), generator=drawn))]
    top, left = (
        int(torch.randint(length - CROP_PX + 1, (), generator=drawn))
        for length in chosen.shape[1:]
    )
    return chosen[:, top : top + CROP_PX, left : left + CROP_PX]


if __name__ == "__main__":
    main()
