"""Says why trials start slowly on a node whose name server does not answer.

torch's launcher asks for the full name of the node again and again: with 10 s for each of these
questions, the start of a trial takes more than a minute, and nothing names the cause.
"""

import logging
import socket
import threading
import time

from wconv_sweep.log import event

logger = logging.getLogger(__name__)

SLOW_S = 2.0
"""Time for one question after which each start of a trial is noticeably late, seconds."""
REMEDY = (
    "Each start of a trial asks several times. Let the node's name stand in /etc/hosts, or ask "
    "the site about its name server."
)


def look_up_own_name() -> float:
    """Return how long it takes to find the full name of this node, seconds."""
    began = time.monotonic()
    socket.getfqdn()
    return time.monotonic() - began


def watch_own_name() -> threading.Thread:
    """Log a warning if this node's name is found slowly; do not wait for that."""
    thread = threading.Thread(target=_tell, name="own name", daemon=True)
    thread.start()
    return thread


def _tell() -> None:
    took_s = look_up_own_name()
    if took_s >= SLOW_S:
        logger.warning(event("own name found slowly", after_s=took_s, remedy=REMEDY))
