"""The signals of a whole job, which only the agent handles. Loads no torch."""

import signal

AGENT_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that terminals and SLURM send to every process; only the agent handles them.
"""


def ignore_signals() -> None:
    """Ignore the signals for a whole job, also in child processes; the agent handles them."""
    for number in AGENT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
