"""What a user of Hydra writes: a trial of `plain_optuna_worker` as a Hydra application."""

import hydra
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from tests.benchmarks.plain_optuna_worker import score

ConfigStore.instance().store(name="config", node={"density": 1.0, "steps": 200})


@hydra.main(version_base=None, config_path=None, config_name="config")  # type: ignore[untyped-decorator]
def main(config: DictConfig) -> float:
    """Return the score of a density, dB."""
    torch.set_num_threads(1)
    return score(config.density, config.steps)


if __name__ == "__main__":
    main()
