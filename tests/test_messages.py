"""An error says what to do: the last sentence of every message that is raised."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ERRORS = {
    "ConfigurationError",
    "JobError",
    "StorageError",
    "StudyError",
    "SlurmError",
    "StorageAway",
    "TrialError",
}

_REMEDY = re.compile(r"[.?;)] (…|.*[A-Z`…].*[.…])$")


def _messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the messages of errors with their lines, `…` for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            text = node.args[0]
            if node.func.id not in ERRORS:
                continue
            if isinstance(text, ast.JoinedStr):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in text.values
                ]
                yield node.lineno, "".join(parts)
            elif isinstance(text, ast.Constant):
                yield node.lineno, str(text.value)


def _is_a_part(message: str) -> bool:
    """Return whether another text has the remedy: the caller's, a message inside, a program's own.

    Such as `… (it is not a PNG file)`, `study …: data: …` and `… failed with exit status …: …`.
    """
    words = re.findall(r"\w+", message)
    return (
        message.startswith("… (")
        or (message.endswith("…") and len(words) <= 3 and "cannot" not in words)
        or "failed with exit status" in message
    )


def test_every_error_ends_with_what_to_do() -> None:
    found = [
        (f"{path.relative_to(ROOT)}:{line}", message)
        for folder in ("wconv_sweep", "jobs", "trial")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, message in _messages(path)
    ]
    without_remedy = [
        (place, message)
        for place, message in found
        if not _REMEDY.search(message) and not _is_a_part(message)
    ]

    assert len(found) > 100
    assert without_remedy == []
