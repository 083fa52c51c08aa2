"""What the fork server loads before it forks ranks; nothing else imports this module.

Nothing that these imports make is garbage. Looking for it takes a fifth of their time, and in each
rank it would touch, and so copy, the memory that all of them share (`gc.freeze`).
"""

import gc
from importlib import import_module

gc.disable()
# torch._dynamo is what the first step of any optimizer imports.
for name in ("torch", "torch.distributed", "torch._dynamo", "wconv_jobs.ranks.rank"):
    import_module(name)
gc.freeze()
gc.enable()
