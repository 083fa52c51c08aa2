"""What the fork server loads before it forks ranks; nothing else imports this module.

Nothing that these imports make is garbage. Looking for it takes a fifth of their time, and in each
rank it would touch, and so copy, the memory that all of them share (`gc.freeze`).
"""

import atexit
import gc
import warnings
from importlib import import_module
from multiprocessing import spawn

from wconv_trial.descendants import adopt_orphans, kill_descendants

gc.disable()
# torch._dynamo is what the first step of any optimizer imports, torch.utils.serialization what
# writes the first checkpoint.
for name in (
    "torch",
    "torch.distributed",
    "torch._dynamo",
    "torch.utils.serialization",
    "wconv_jobs.ranks.rank",
    "wconv_jobs.ranks.rank_process",
    "wconv_jobs.tasks.classification",
    "wconv_jobs.tasks.denoising",
):
    import_module(name)


def _leave_out(main: str) -> None:
    """Import nothing, where multiprocessing would run the main file of the agent once more."""


# Ranks run a function of a module. For one of the main file, multiprocessing would load all of the
# agent into each rank, its database and its sampler, too.
for fixup in ("_fixup_main_from_name", "_fixup_main_from_path"):
    setattr(spawn, fixup, _leave_out)
# What a program of the user's has started may outlive its rank, if that is killed. The agent ends
# it with the trial; if the agent has been killed, too, this process ends after its last rank.
adopt_orphans()
atexit.register(kill_descendants)
warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")
gc.freeze()
gc.enable()
