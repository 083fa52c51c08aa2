"""The names by which a program and the agent find each other."""

CHANNEL_VARIABLE = "WCONV_TRIAL"
"""Holds the path of the agent's Unix socket."""
DENSITY_VARIABLE = "WCONV_DENSITY"
"""Density of a program that runs outside of a study, e.g. 0.8,1.1."""
SHORT_SEEDS = 2**31
"""What `trial.seed` is below: other libraries than torch take no larger seeds."""
WEIGHTS_KEY = "weights_file"
"""Key in the origin of a trial: the file of its network, relative to the trial's folder."""
JOINED_RANKS = "joined_ranks"
"""Key in the origin of a trial: ranks in the process group of torch.distributed; 0 without one."""
EXIT_AGENT_GONE = 75
"""Exit status of a program whose agent has died (EX_TEMPFAIL of sysexits.h)."""
