"""The one place that configures logging: one line per event, facts as key=value, on stderr."""

import logging


def configure_agent_logging() -> None:
    """Let an agent log to stderr, which its job writes to a file."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(threadName)s %(name)s %(message)s",
        force=True,
    )
    # torch's launcher repeats its whole configuration for every trial.
    logging.getLogger("torch").setLevel(logging.ERROR)


def event(name: str, /, **facts: object) -> str:
    """Return one log line: `name key=value ...`, floats with 6 digits, text with spaces quoted.

    >>> event("trial finished", trial=17, psnr_db=31.4159265)
    'trial finished trial=17 psnr_db=31.4159'
    """
    return " ".join([name, *(f"{key}={_text(value)}" for key, value in facts.items())])


def _text(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return repr(text) if any(space in text for space in " \n\t") else text
