"""A process that was forked to be a program: it does what a new interpreter would do."""

import builtins
import ctypes
import importlib.machinery
import io
import json
import os
import runpy
import signal
import sys
import types
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Set

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


class Order:
    """What to run, and how."""

    def __init__(
        self, arguments: List[str], env: Dict[str, str], folder: str, varying: Sequence[str]
    ) -> None:
        """Take the parts.

        Args:
            arguments: of the interpreter: a file or -m and a module, and what follows.
            env: all variables of the program.
            folder: that it runs in.
            varying: how the names begin of variables that no library reads when it is loaded.
        """
        self.arguments, self.env, self.folder = arguments, env, folder
        self.varying = tuple(varying)

    @classmethod
    def parse(cls, line: bytes) -> "Order":
        """Return the order that `line` is the JSON of."""
        return cls(**json.loads(line.decode()))

    def line(self) -> bytes:
        """Return its JSON, a line."""
        return json.dumps(vars(self)).encode() + b"\n"

    def unfit(self) -> Optional[str]:
        """Return why a new interpreter would do something else; None where it would not."""
        for name in sorted(self.env.keys() | os.environ.keys()):
            if not name.startswith(self.varying) and self.env.get(name) != os.environ.get(name):
                return f"{name} has another value"
        taken = sorted(_modules_in(self._own_folder()) & set(sys.modules))
        return f"{taken[0]} beside the program was not loaded" if taken else None

    @property
    def module(self) -> Optional[str]:
        """What follows -m."""
        return self.arguments[1] if self.arguments[0] == "-m" else None

    @property
    def file(self) -> str:
        """The program's file, where it is no module."""
        return os.path.join(self.folder, self.arguments[0])

    def enter(self) -> None:
        """Set variables, folder, arguments and path."""
        paths = [each.get("PYTHONPATH", "").split(os.pathsep) for each in (os.environ, self.env)]
        moved = dict(zip(*paths))
        os.environ.clear()
        os.environ.update(self.env)
        os.chdir(self.folder)
        sys.path[:] = [moved.get(each, each) for each in sys.path]
        if not getattr(sys.flags, "safe_path", False):
            sys.path.insert(0, self._own_folder())
        sys.argv[:] = self.arguments if self.module is None else self.arguments[1:]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[:] = [sys.executable, *self.arguments]

    def _own_folder(self) -> str:
        """Return the folder whose modules the program finds first."""
        if self.module is not None:
            return self.folder
        return os.path.dirname(os.path.realpath(self.file))


def run(order: Order) -> None:
    """Be the program: return at its end, or raise SystemExit.

    What runs at the exit of the interpreter follows, as ever.
    """
    order.enter()
    _show([sys.executable, *order.arguments])
    _draw_anew()
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={})
    try:
        if order.module is not None:
            runpy._run_module_as_main(order.module)  # type: ignore[attr-defined]
        else:
            path = os.path.abspath(order.file)
            main.__file__ = path
            main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
            with io.open_code(path) as file:
                source = file.read()
            exec(compile(source, path, "exec"), vars(main))
    except SystemExit:
        raise
    except BaseException as error:
        _tell(error)


def _tell(error: BaseException) -> None:
    """Say what the program has raised, without the frames of this module, and end."""
    trace: Optional[TracebackType] = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    if isinstance(error, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(1)


def _show(command: List[str]) -> None:
    """Let the table of processes show a command line, as much of it as there is room for."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # where the kernel reads it, see proc(5)
    if 0 < begin < end:
        shown = b"\0".join(map(os.fsencode, command))[: end - begin - 1]
        ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


def _draw_anew() -> None:
    """Let NumPy's own generator begin anywhere, as in a new interpreter; Python's does so itself,
    and torch's begins with the same number in each."""
    random: Any = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _modules_in(folder: str) -> Set[str]:
    """Return the names of the modules in a folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return set()
    found = {
        entry.name.partition(".")[0]
        for entry in entries
        if entry.name.endswith((".py", ".so", ".pyc"))
        or os.path.isfile(os.path.join(entry.path, "__init__.py"))
    }
    return found - {"__main__"}
