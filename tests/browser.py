"""A real browser without a window: Chromium, as Debian packages it."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Time for the scripts of a page, which the browser lets pass at once where nothing happens.
_BUDGET_MS = 20_000


def browser() -> str:
    """Return the program; skip the test where there is none."""
    found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser: the Debian package chromium is missing")
    return found


def text_of_page(url: str, folder: Path) -> str:
    """Return what a page says once its scripts have run, one text after the other."""
    content = re.sub(
        r"<(style|script)[^>]*>.*?</\1>", "", dom_of_page(url, folder), flags=re.DOTALL
    )
    return unescape(re.sub(r"(\s*<[^>]+>\s*)+", " | ", content))


def picture_of_page(
    url: str, path: Path, *, width_px: int = 1280, height_px: int = 900, dark: bool = False
) -> None:
    """Save a picture of a page as PNG.

    Args:
        url: of the page.
        path: gets the picture.
        width_px: of the window.
        height_px: likewise.
        dark: ask for the page's dark colors.
    """
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    size = f"--window-size={width_px},{height_px}"
    _run([*options, size, f"--screenshot={path}", url], path.parent)


def dom_of_page(url: str, folder: Path, *, dark: bool = False, port: int | None = None) -> str:
    """Return a page as HTML once its scripts have run.

    Args:
        url: of the page.
        folder: for what the browser keeps.
        dark: ask for the page's dark colors.
        port: where on this machine every host of the world seems to be, to see who is asked.
    """
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    if port is not None:
        options.append(f"--host-resolver-rules=MAP * 127.0.0.1:{port}")
    return _run([*options, "--dump-dom", url], folder)


def _run(arguments: list[str], folder: Path) -> str:
    ended = subprocess.run(
        [
            browser(),
            "--headless=new",
            "--no-sandbox",  # it refuses to run for root with one
            "--disable-gpu",
            "--disable-background-networking",  # it asks for the time and for news of itself
            "--disable-component-update",
            "--disable-features=NetworkTimeServiceQuerying",
            f"--user-data-dir={folder / 'browser'}",
            f"--virtual-time-budget={_BUDGET_MS}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return ended.stdout
