"""A training program of a user's that takes the steps of our own trainer, with its data and seeds.

What it is compared with is a study of network `dncnn`, data `photographs`, Adam with a
learning rate that falls like a cosine, and the other values that are its options.
"""

import math
import os
import sys

import parts  # type: ignore[import-not-found]  # beside this file, where it is run
import torch
from torch import nn

from wconv_jobs.seeding import derive_seed
from wconv_jobs.training.initialization import initialize
from wconv_kernels import replace_convolutions
from wconv_trial import begin

trial = begin(depth=3, width=4, crop_px=16, crops=16, epochs=2, batch=8, lr=0.003, dtype="float64")
dtype = getattr(torch, trial["dtype"])
data = parts.data(trial["crop_px"], trial["crops"], trial.long_seed)
model = parts.network(trial["depth"], trial["width"])
initialize(model, "kaiming", derive_seed(trial.long_seed, "init"))
replace_convolutions(model.to(dtype), trial.density)
optimizer = torch.optim.Adam(model.parameters(), lr=trial["lr"])
steps = trial["epochs"] * (trial["crops"] // trial["batch"])
schedule = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
)
checkpoint, weights, first = trial.folder / "checkpoint.pt", trial.folder / "weights.pt", 0
if checkpoint.exists():
    state = torch.load(checkpoint)
    first = state["epochs"]
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])

for epoch in range(first, trial["epochs"]):
    model.train()
    for start in range(0, trial["crops"], trial["batch"]):
        noisy, clean = data.train_batch(epoch, range(start, start + trial["batch"]))
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.mse_loss(model(noisy.to(dtype)), clean.to(dtype)))
        optimizer.step()
        schedule.step()
    answer = trial.report(epoch + 1, psnr_db=parts.psnr_db(model, data, "validation"))
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"schedule": schedule.state_dict(), "epochs": epoch + 1}
    torch.save(state, checkpoint.with_suffix(".new"))
    os.replace(checkpoint.with_suffix(".new"), checkpoint)
    if answer.stop:
        sys.exit()
torch.save(model.state_dict(), weights)
trial.finish(weights=weights, test_psnr_db=parts.psnr_db(model, data, "test"))
