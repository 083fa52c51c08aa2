"""Runs a program of the user's own as a rank of a trial, and speaks for it to the agent.

The rank starts the program, and lives as long as it does: launcher, logs, lifeline and the agent's
view are those of any other rank. Rank 0 reports; what the agent answers reaches the other ranks
through the store of the trial, so that all programs do the same at the same step.
"""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from wconv_jobs.files.atomic import replace_file
from wconv_jobs.messages import STEADY_EPOCHS, Broken, Finished, Left, Report, Verdict
from wconv_jobs.program_trial import REPORTS_FILE, ProgramTrial
from wconv_jobs.ranks.agent_link import AgentLink
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.program_board import Board
from wconv_jobs.ranks.program_channel import ProgramChannel
from wconv_jobs.ranks.program_environment import program_environment
from wconv_jobs.ranks.program_failure import LAST_BYTES, program_broke
from wconv_jobs.ranks.program_process import ProgramProcess
from wconv_jobs.training.epoch_time import epoch_s, steady_epochs
from wconv_trial.names import JOINED_RANKS

ASK_S = 0.5
"""Time between two questions of a program's whether to stop, seconds."""


def run_program(
    order: NodeOrder, trial: ProgramTrial, link: AgentLink
) -> Finished | Left | Broken:
    """Run the program as the rank of this node that LOCAL_RANK names, and return how it ended.

    Raises:
        OSError: the folder of the trial cannot be written.
    """
    return _Host(order, trial, link).run()


class _Host:
    """The rank of a program."""

    def __init__(self, order: NodeOrder, trial: ProgramTrial, link: AgentLink) -> None:
        self._order, self._trial, self._link = order, trial, link
        self._rank = order.first_rank + int(os.environ["LOCAL_RANK"])
        self._board = Board(order)
        self._program = ProgramProcess(order.program_server)
        self._reports_file = trial.checkpoint_folder / REPORTS_FILE
        self._begun = self._asked_to_stop = False
        self._resumed = False
        self._verdict = Verdict.CONTINUE
        self._reports: list[Report] = []
        self._reported_here = 0
        self._origin: dict[str, str] = {}
        self._joined_ranks = 0
        self._finish: dict[str, float] | None = None
        self._reported_s = self._asked_s = time.monotonic()
        self._calls = 0

    def run(self) -> Finished | Left | Broken:
        self._link.before_end = self._program.end
        port = self._agree_on_start()
        with ProgramChannel() as channel:
            try:
                if (broken := self._start(channel, port)) is not None:
                    return broken
                while (message := channel.next()) is not None:
                    if message["kind"] == "failed":
                        if self._finish is None:
                            return _failed(message, self._rank)
                        break  # on its way out, after all was said
                    channel.answer(getattr(self, f"_on_{message['kind']}")(message))
                self._program.end()
                return self._ending()
            finally:
                self._program.end()

    def _start(self, channel: ProgramChannel, port: int) -> Broken | None:
        try:
            self._program.start(
                self._trial.command,
                env=program_environment(self._order, self._trial, channel, port),
                folder=self._trial.code_folder or self._trial.program_folder,
                on_end=channel.wake,
            )
        except OSError as error:
            how = f"cannot be started: {error.strerror}: {error.filename}"
            # Another node may have it.
            return self._wrong(f"{how}. Correct trainer.python", final=False)
        return None

    def _agree_on_start(self) -> int:
        """Return the port where the programs may meet; rank 0 chooses it, and whether the trial is
        resumed, before any program writes."""
        if self._rank == 0:
            folder = self._trial.program_folder
            folder.mkdir(parents=True, exist_ok=True)
            self._resumed = any(folder.iterdir())
            self._reports = self._read_reports() if self._resumed else []
            with socket.socket() as chosen:
                chosen.bind(("", 0))
                port: int = chosen.getsockname()[1]
            self._board.post("start", [port, self._resumed])
        else:
            port, self._resumed = self._board.read("start", lambda: True)
        return port

    def _on_begin(self, message: dict[str, Any]) -> dict[str, Any]:
        self._begun, self._origin = True, message["origin"]
        self._reported_s = time.monotonic()
        return {
            "density": self._trial.density,
            "seed": self._trial.seed,
            "options": self._trial.options,
            "folder": str(self._trial.program_folder),
            "resumed": self._resumed,
            "metric": self._trial.metric,
            "rank": self._rank,
        }

    def _on_report(self, message: dict[str, Any]) -> dict[str, Any]:
        key = f"report/{message['step']}"
        self._joined_ranks = message["joined"]
        if self._rank > 0:
            verdict = self._board.read(key, self._is_running) or Verdict.STOP
        else:
            verdict = self._link.report(self._noted(message))
            if verdict is Verdict.CONTINUE and self._stop_is_wanted():
                verdict = Verdict.STOP
            self._board.post(key, verdict)
            self._reported_s = time.monotonic()
        self._verdict = Verdict(verdict)
        return {"verdict": self._verdict}

    def _on_ask(self, message: dict[str, Any]) -> dict[str, Any]:
        key = f"ask/{message['number']}"
        if self._rank > 0:
            answer = self._board.read(key, self._is_running) or [True, 0]
        else:
            now_s = time.monotonic()
            call_s = (now_s - self._asked_s) / (self._calls + 1)
            self._asked_s, self._calls = now_s, int(ASK_S / max(call_s, 1e-6))
            answer = [self._stop_is_wanted(), self._calls]
            self._board.post(key, answer)
        stop, calls = answer
        self._asked_to_stop = self._asked_to_stop or stop
        return {"stop": stop, "calls": calls}

    def _on_finish(self, message: dict[str, Any]) -> dict[str, Any]:
        self._finish, self._origin = message["metrics"], message["origin"]
        return {}

    def _is_running(self) -> bool:
        return self._program.status is None

    def _stop_is_wanted(self) -> bool:
        deadline_s = self._trial.deadline_s
        return self._link.checkpoint_is_demanded() or (
            deadline_s is not None and time.time() >= deadline_s
        )

    def _noted(self, message: dict[str, Any]) -> Report:
        """Keep a report, also for later attempts, and return it."""
        report = Report(
            epoch=message["step"],
            metrics=message["metrics"],
            epoch_s=time.monotonic() - self._reported_s,
            steady=self._reported_here > 0,
        )
        self._reported_here += 1
        # A program that goes on from an earlier step repeats those after it.
        self._reports = [each for each in self._reports if each.epoch < report.epoch] + [report]
        text = "".join(f"{each.model_dump_json()}\n" for each in self._reports)
        replace_file(self._reports_file, text)
        return report

    def _read_reports(self) -> list[Report]:
        try:
            lines = self._reports_file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [Report.model_validate_json(line) for line in lines]

    def _ending(self) -> Finished | Left | Broken:
        """Return how a program ended that has not said that it failed."""
        status = self._program.status
        assert status is not None
        if self._finish is None and status != 0:
            return program_broke(status, _printed(), self._rank)
        if self._rank > 0:
            return Left(rank=self._rank)
        epochs = self._reports[-1].epoch if self._reports else 0
        stopped = self._asked_to_stop or self._verdict is Verdict.STOP
        if self._verdict is Verdict.PRUNE:
            return self._finished("pruned", epochs)
        # One that leaves its loop when it is asked to may say that it has finished, too.
        if stopped and (self._finish is None or epochs < self._trial.reports):
            return self._finished("stopped", epochs)
        if self._finish is None:
            # By a signal that it handles itself.
            if self._stop_is_wanted():
                return self._finished("stopped", epochs)
            return self._unfinished(epochs)
        reported = self._reports[-1].metrics if self._reports else {}
        if self._trial.metric not in reported | self._finish:
            return self._wrong(
                "finished without a report. Call trial.report(epoch, ...) after each epoch",
                final=True,
            )
        return self._finished("complete", epochs)

    def _finished(self, ending: Any, epochs: int) -> Finished:
        metrics: dict[str, float] = {}
        origin = self._origin | {
            "ranks": str(self._order.ranks),
            "threads": str(self._trial.threads_per_rank),
            JOINED_RANKS: str(self._joined_ranks),
        }
        if ending == "complete":
            if self._reports:
                metrics = self._reports[-1].metrics | {"epoch_s": epoch_s(self._reports)}
                origin[STEADY_EPOCHS] = str(steady_epochs(self._reports))
            metrics |= self._finish or {}
        return Finished(ending=ending, epoch=epochs, metrics=metrics, provenance=origin)

    def _unfinished(self, epochs: int) -> Broken:
        if not self._begun:
            return self._wrong(
                "ended without wconv_trial.begin(). Call it, and report to what it returns",
                final=True,
            )
        if epochs == 0:
            return self._wrong(
                "ended without a report. Call trial.report(epoch, ...) after each epoch",
                final=True,
            )
        return self._wrong(
            f"ended after step {epochs} without trial.finish(...). Call it when the training is "
            "complete",
            final=False,
        )

    def _wrong(self, how: str, *, final: bool) -> Broken:
        return Broken(
            rank=self._rank,
            error="TrialError",
            reason=f"the program {how}.",
            where="program",
            traceback="",
            final=final,
        )


def _failed(message: dict[str, Any], rank: int) -> Broken:
    del message["kind"]
    return Broken(rank=rank, **message)


def _printed() -> str:
    """Return the end of what this rank's program has written to standard error."""
    sys.stderr.flush()
    try:
        with Path("/proc/self/fd/2").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LAST_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""  # a terminal, or a pipe
