"""Programs of other people's, with the lines that make them trials.

Theirs are the networks, the data and the training; what is left to write here is what their
documentation shows. Each line that was added or changed for a study says so.
"""

from dataclasses import dataclass

ADDED = "  # added"


@dataclass(frozen=True)
class PublicProgram:
    """A program."""

    text: str
    metric: str
    """The objective, less of which is better."""
    epochs: int
    """Its reports."""


def added(text: str) -> int:
    """Return the number of lines that were added or changed."""
    return sum(line.endswith(ADDED) for line in text.splitlines())


# After the tutorial of PyTorch on DistributedDataParallel with checkpoints, in other words.
_DDP = """\
import os
import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler
from wconv_kernels import replace_convolutions  # added
from wconv_trial import begin  # added


class Trainer:
    def __init__(self, model, train_data, optimizer, save_every, snapshot_path):
        self.rank = int(os.environ["RANK"])
        self.train_data, self.optimizer, self.save_every = train_data, optimizer, save_every
        self.epochs_run, self.snapshot_path, self.model = 0, snapshot_path, model
        if os.path.exists(snapshot_path):
            self._load_snapshot(snapshot_path)
        self.model = DDP(self.model)

    def _load_snapshot(self, path):
        snapshot = torch.load(path)
        self.model.load_state_dict(snapshot["MODEL_STATE"])
        self.epochs_run = snapshot["EPOCHS_RUN"]

    def _run_epoch(self, epoch):
        self.train_data.sampler.set_epoch(epoch)
        total = torch.zeros(())
        for source, targets in self.train_data:
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(source), targets)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        return total.item()

    def _save_snapshot(self, epoch):
        state = {"MODEL_STATE": self.model.module.state_dict(), "EPOCHS_RUN": epoch + 1}
        torch.save(state, self.snapshot_path + ".part")
        os.replace(self.snapshot_path + ".part", self.snapshot_path)

    def train(self, max_epochs):
        for epoch in range(self.epochs_run, max_epochs):
            loss = self._run_epoch(epoch)
            if self.rank == 0 and epoch % self.save_every == 0:
                self._save_snapshot(epoch)
            if trial.report(epoch + 1, loss=loss).stop:  # added
                return  # added
        trial.finish()  # added


dist.init_process_group(backend="gloo")
torch.manual_seed(0)
images = torch.randn(2048, 1, 12, 12)
train_set = TensorDataset(images, (images.mean((1, 2, 3)) > 0).long())
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
trial = begin()  # added
replace_convolutions(model, trial.density)  # added
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
train_data = DataLoader(train_set, batch_size=16, sampler=DistributedSampler(train_set))
path = str(trial.folder / "snapshot.pt")  # added
Trainer(model, train_data, optimizer, 1, path).train(4)
dist.destroy_process_group()
"""

# The demo of a language model in the package lightning: no convolution, so no density to apply.
_LIGHTNING = """\
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.demos.lstm import LightningLSTM, SimpleLSTM
from wconv_trial import begin  # added
from wconv_trial.lightning import TrialCallback  # added

trial = begin()  # added
callback = TrialCallback(trial)  # added
seed_everything(trial.seed)  # added
model = LightningLSTM()
model.model = SimpleLSTM(vocab_size=51, ninp=16, nhid=16, nlayers=1, dropout=0.0)
trainer = Trainer(
    max_epochs=4,
    accelerator="cpu",
    devices=2,
    use_distributed_sampler=False,
    logger=False,
    enable_checkpointing=False,
    callbacks=[callback],  # added
)
trainer.fit(model, ckpt_path=callback.checkpoint)  # added
trial.finish()  # added
"""

# The network and the data that the package accelerate trains to test itself, in the loop with
# checkpoints of its documentation, in other words. No convolution here, either.
_ACCELERATE = """\
import os
import torch
from accelerate import Accelerator
from accelerate.test_utils.training import RegressionDataset, RegressionModel
from accelerate.utils import DataLoaderConfiguration, set_seed
from wconv_trial import begin  # added

EPOCHS = 4

trial = begin()  # added
output = trial.folder  # added
set_seed(0)
accelerator = Accelerator(dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True))
model = RegressionModel()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
train_set = RegressionDataset(length=8192, seed=0)
loader = torch.utils.data.DataLoader(train_set, batch_size=16, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
saved = sorted(output.glob("epoch_*"))
if saved:
    accelerator.load_state(str(saved[-1]))
for epoch in range(len(saved), EPOCHS):
    loader.set_epoch(epoch)
    total = torch.zeros(())
    for batch in loader:
        loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.detach()
    mean = accelerator.reduce(total, reduction="mean").item() / len(loader)
    accelerator.save_state(str(output / "part"))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        os.rename(output / "part", output / f"epoch_{epoch}")
    if trial.report(epoch + 1, loss=mean).stop:  # added
        raise SystemExit  # added
trial.finish()  # added
"""

PROGRAMS = {
    "ddp": PublicProgram(_DDP, "loss", 4),
    "lightning": PublicProgram(_LIGHTNING, "train_loss", 4),
    "accelerate": PublicProgram(_ACCELERATE, "loss", 4),
}
