"""Runs the user's command that sends a notification: a study ended, broke or is capped.

The command lies in the run folder, which is the user's own. It is not in the database: anyone who
else may write to that would run programs on the user's account.
"""

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from wconv_jobs.files.atomic import replace_file
from wconv_sweep.errors import ConfigurationError, StorageAway
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.log import event
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.server.programs import without_secrets
from wconv_sweep.slots.occasions import Occasion, occasion_of, take
from wconv_sweep.storage.open_storage import Storage

logger = logging.getLogger(__name__)

LIMIT_S = 30.0
"""Time that the command gets before it is killed with what it has started, seconds."""
_SHOWN = 2000
_FILE = "notify.json"


def checked_command(text: str) -> list[str]:
    """Return the words of a command, its program by absolute path; no words for an empty text.

    Raises:
        ConfigurationError: it cannot be split into words, or there is no such program here.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--notify {text}: is not a command ({error}). Write it as in a shell, and put a pipe "
            "or the like into a script."
        ) from error
    if not words:
        return []
    program = shutil.which(os.path.expanduser(words[0]))
    if program is None:
        raise ConfigurationError(
            f"--notify {text}: there is no program {words[0]} that may be run. Give its path, or "
            "make it executable with chmod +x."
        )
    return [os.path.abspath(program), *words[1:]]


def save_command(folder: RunFolder, words: Sequence[str]) -> None:
    """Keep the command for pilots of this and of later launches; no words remove it."""
    # It may hold the address of a chat that no one else should write to.
    replace_file(folder.pilots / _FILE, json.dumps(list(words)) + "\n", mode=0o600)


def notify(storage: Storage, study: str, folder: RunFolder, *, refused: bool = False) -> None:
    """Run the command if a notification is due that was not sent yet; never fails.

    One of all agents runs it, at most once for each occasion: it is marked before.

    Args:
        storage: holds the study.
        study: its name.
        folder: of the study.
        refused: whether an agent was refused a slot because of the cap just now.
    """
    words = _command(folder)
    if not words:
        return
    try:
        status = read_status(storage, study)
        occasion = occasion_of(status, refused=refused)
        if occasion is None or not take(storage, occasion):
            return
    except StorageAway as error:
        logger.warning(event("storage is away, no notification is sent", why=error))
        return
    _run(words, status, occasion)


def _command(folder: RunFolder) -> list[str]:
    try:
        words = json.loads((folder.pilots / _FILE).read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        logger.warning(event("command to notify cannot be read", why=error))
        return []
    return [str(word) for word in words]


def _run(words: Sequence[str], status: StudyStatus, occasion: Occasion) -> None:
    variables = {
        "WCONV_SWEEP_EVENT": str(occasion.event),
        "WCONV_SWEEP_STUDY": occasion.study,
        # What an exception says may hold anything, and a variable no NUL.
        "WCONV_SWEEP_MESSAGE": occasion.message.replace("\0", " "),
    }
    # Files and not pipes: what the command leaves behind may hold its output open for ever.
    with tempfile.TemporaryFile() as facts, tempfile.TemporaryFile() as output:
        facts.write(json.dumps(_facts(status, occasion)).encode())
        facts.seek(0)
        try:
            process = subprocess.Popen(
                words,
                stdin=facts,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=without_secrets(os.environ) | variables,
                cwd=status.folder.path,
                start_new_session=True,
            )
        except OSError as error:
            logger.error(event("command to notify cannot be run", command=words[0], why=error))
            return
        ended = _wait(process)
        output.seek(0)
        said = output.read(_SHOWN).decode("utf-8", "replace").strip()
    if ended == 0:
        logger.info(event("notified", event=occasion.event, command=words[0], said=said))
    else:
        how = f"exit status {ended}" if ended is not None else f"killed after {LIMIT_S:g} s"
        logger.error(event("command to notify failed", command=words[0], how=how, said=said))


def _wait(process: "subprocess.Popen[bytes]") -> int | None:
    """Return the exit status; None when its time was up."""
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _facts(status: StudyStatus, occasion: Occasion) -> dict[str, object]:
    return {
        "event": str(occasion.event),
        "study": occasion.study,
        "message": occasion.message,
        "state": status.word,
        "slots": {str(state): number for state, number in status.counts.items()},
        "gpu_hours": status.usage.spent_h,
        "run_folder": str(status.folder.path),
    }
