"""What the program beside this file trains, and on what."""

from typing import Literal

import torch
from torch import nn

from wconv_jobs.data import load_data
from wconv_jobs.models import build_model
from wconv_jobs.tasks.task import Task


def network(depth: int = 3, width: int = 4) -> nn.Module:
    """Return the plain network."""
    return build_model("dncnn", depth=depth, width=width, norm="none")


def data(crop_px: int, crops: int, seed: int) -> Task:
    """Return the data with the order, crops and noise of our own trainer."""
    return load_data("photographs", seed=seed, crop_px=crop_px, crops_per_epoch=crops)


def score(
    network: nn.Module, crop_px: int = 16, crops: int = 16, *, long_seed: int
) -> "dict[str, float]":
    """Return the scores of a trained network."""
    return {"test_psnr_db": psnr_db(network, data(crop_px, crops, long_seed), "test")}


def psnr_db(model: nn.Module, task: Task, part: Literal["validation", "test"]) -> float:
    """Return the mean over the images of 10 log10(1 / mean squared error)."""
    model.eval()
    dtype = next(model.parameters()).dtype
    values = []
    with torch.no_grad():
        for noisy, clean in task.evaluation_batches(part, range(len(task.names(part)))):
            mse = (model(noisy.to(dtype)).double() - clean.double()).square().mean()
            values.append(-10 * mse.log10())
    return float(sum(values) / len(values))
