"""A program of the user's as the trials of studies on the test cluster: no torch, next to no work.

It is hard to end: it ignores SIGTERM, and leaves a service behind that is in a session of its own.
What it reports depends on every batch of every attempt, so a wrong resumption shows.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

from wconv_trial import begin

EPOCHS, BATCHES = 8, 4
ENDLESS = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]

trial = begin()
rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
signal.signal(signal.SIGTERM, lambda *_: None)
subprocess.Popen(ENDLESS, start_new_session=True)
state_file = trial.folder / f"state-{rank}.json"
epoch, batch, value = 0, 0, trial.seed % 1000 / 1000
if state_file.exists():
    epoch, batch, value = json.loads(state_file.read_text("utf-8"))


def met() -> int:
    """Return how many ranks have met at MASTER_ADDR and MASTER_PORT."""
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if rank > 0:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return len(socket.create_connection(place, 60).recv(1)) * ranks
            time.sleep(0.01)
    with socket.create_server(("", place[1])) as server:
        others = [server.accept()[0] for _ in range(ranks - 1)]
        for other in others:
            other.sendall(b"x")
        return 1 + len(others)


def save() -> None:
    new = state_file.with_suffix(".new")
    new.write_text(json.dumps([epoch, batch, value]), "utf-8")
    os.replace(new, state_file)


assert met() == ranks
while epoch < EPOCHS:
    while batch < BATCHES:
        time.sleep(trial["batch_s"])
        batch += 1
        value = (value * 1.7 + trial.density[0]) % 1.0
        if trial.should_stop:
            save()
            sys.exit()
    epoch, batch = epoch + 1, 0
    answer = trial.report(epoch, score=value)
    save()
    if answer.stop:
        sys.exit()
trial.finish(test_score=value + ranks)
