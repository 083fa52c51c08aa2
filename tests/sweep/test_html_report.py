"""The page of a report: everything in one file, true, escaped, and readable on any screen."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import browser, dom_of_page
from tests.sweep.searching import launched, study_of
from tests.sweep.tiny import run
from wconv_jobs.channel import Broken
from wconv_jobs.spec import CONFUSION_FILE
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.status import read_status
from wconv_sweep.results.html_report import html_report
from wconv_sweep.slots.slots import Claim
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.storage.storage import Storage, choose_url, create_storage
from wconv_sweep.storage.tables import Stage

pytestmark = pytest.mark.slow  # all need a page, whose pictures take a second or two

HOSTILE = "</p><script>document.title='broken into'</script><img src='http://example.org/x'> & \""

_ASK = """<!DOCTYPE html><meta charset="utf-8">
<iframe id="frame" src="report.html" style="border:0;width:WIDTHpx;height:900px"></iframe>
<pre id="answer"></pre>
<script>
function light(colour) {
  const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(view, element) {
  for (let each = element; each; each = each.parentElement) {
    const colour = view.getComputedStyle(each).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
}
document.getElementById("frame").addEventListener("load", event => {
  const view = event.target.contentWindow, page = view.document;
  page.querySelectorAll("details").forEach(each => { each.open = true; });
  const ratios = {};
  for (const element of page.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some(each => each.nodeType === 3 && each.data.trim());
    if (!own) continue;
    const [a, b] = [view.getComputedStyle(element).color, behind(view, element)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = element.tagName + "." + element.className;
    ratios[name] = Math.min(ratio, ratios[name] ?? 99);
  }
  document.getElementById("answer").textContent = JSON.stringify({
    title: page.title,
    width: view.innerWidth,
    scrolled: page.documentElement.scrollWidth,
    ground: light(behind(view, page.body)),
    pictures: [...page.images].map(each => [each.naturalWidth, each.alt]),
    shown: [...page.images].map(each => each.currentSrc.slice(0, 26)),
    chosen: [...new Set([...page.images].map(each => each.currentSrc === each.src))],
    ratios: ratios,
    text: page.body.innerText,
  });
});
</script>
"""


def failure(message: str) -> Broken:
    return Broken(
        rank=0,
        error="ValueError",
        message=message,
        where="net.py:1",
        traceback=f"Traceback: {message}",
    )


def write_study(storage: Storage) -> None:
    """Write a study that confirms, ablates, prunes and fails."""
    config = study_of(
        {"name": "qmc"},
        name="shown",
        trials=24,
        confirm={"candidates": 1, "seeds": 5},
    ).model_copy(update={"description": HOSTILE})
    searcher = launched(storage, config)
    add_ablation(storage, config)
    for number, claim in enumerate(searcher.claims()):
        density = searcher.density_of(claim)
        value = _score(claim, density)
        searcher.slots.report(claim, 1, value - 1, {"psnr_db": value - 1})
        if number == 3:
            searcher.slots.prune(claim)
        elif number == 4:
            searcher.slots.break_(claim, failure(HOSTILE))
        else:
            searcher.slots.report(claim, 2, value, {"psnr_db": value})
            scores = {"test_psnr_db": value, "test_ssim": value / 100, "test_nrmse": 1 / value}
            searcher.slots.complete(claim, scores, {"device": HOSTILE})


def _score(claim: Claim, density: tuple[float, ...]) -> float:
    if claim.stage in (Stage.FIXED, Stage.SEARCH):
        return 30 - sum(
            (value - best) ** 2 for value, best in zip(density, (0.3, 0.9), strict=True)
        )
    plain = 30.0 + claim.replicate
    return plain if claim.label == "plain" else plain + (1, 2, 3, 4, 5)[claim.replicate - 1]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    created = create_storage(choose_url(None, tmp_path_factory.mktemp("shown"), {}))
    write_study(created)
    yield created
    created.close()


@pytest.fixture(scope="module")
def page(shown: Storage) -> str:
    return html_report(shown, None)


class Elements(HTMLParser):
    """The elements of a page, as a browser would make them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def attributes(self, name: str) -> list[str]:
        return [value for _, each in self.found if (value := each.get(name)) is not None]


def rows_of(page: str, caption: str) -> list[list[str]]:
    """Return the cells of a table by its caption."""
    table = page.split(f"<caption>{caption}</caption>", 1)[1].split("</table>", 1)[0]
    return [
        re.findall(r"<td[^>]*>(.*?)</td>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    ][1:]


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Serve a folder, and give the port and what has been asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing of what a browser asks its maker for."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_the_verdict_and_its_numbers_are_those_of_the_database(shown: Storage, page: str) -> None:
    status = read_status(shown, "shown")

    # Differences 1 to 5 over five seeds: 3 +- 2.776 * sqrt(2.5) / sqrt(5) = 3 +- 1.963.
    assert 'class="verdict better">Better than plain convolution on 5 fresh seeds' in page
    plain, named = rows_of(page, "PSNR on the test part, fresh seeds")
    assert plain[:5] == ["plain convolution", "(1, 1)", "5", "33.00 dB", "1.58 dB"]
    assert named[2:4] + named[5:8] == ["5", "36.00 dB", "+3.00 dB", "95 %", "+1.04 dB to +4.96 dB"]
    assert named[-1] == "better"
    metrics = [row[0] for row in rows_of(page, "All scores of the test part")]
    assert metrics == ["NRMSE"] * 2 + ["PSNR"] * 2 + ["SSIM"] * 2
    assert len(rows_of(page, "Ablation: PSNR on the test part")) == 4
    assert status.result is not None
    assert f"<dt>best single run</dt><dd>{status.result.best.value:.2f} dB</dd>" in page
    (counts,) = rows_of(page, "Trials by state")
    assert counts == [
        str(status.counts[each]) for each in status.counts if status.counts[each]
    ] + [str(status.budget)]
    assert "<dt>saved by pruning</dt>" in page
    assert "<dt>replicates confirmed</dt><dd>1, 2, 3, 4, 5</dd>" in page


def test_what_a_study_or_a_traceback_says_becomes_no_element(page: str) -> None:
    elements = Elements(page)

    assert page.count("broken into") >= 4  # description, reason, traceback, device
    assert {tag for tag, _ in elements.found} & {"script", "iframe", "object", "link"} == set()
    assert {(each["src"] or "")[:5] for tag, each in elements.found if tag == "img"} == {"data:"}


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    elements = Elements(page)

    for name in ("src", "srcset"):
        assert all(each.startswith("data:image/svg") for each in elements.attributes(name))
    assert all(each.startswith("#") for each in elements.attributes("href"))
    assert "url(" not in page
    assert "@import" not in page


def test_headings_come_in_order_and_pictures_say_what_they_show(page: str) -> None:
    elements = Elements(page).found
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    pictures = [each for tag, each in elements if tag == "img"]
    assert len(pictures) == 4
    assert all(len(each["alt"] or "") > 40 for each in pictures)
    assert ("html", {"lang": "en"}) in elements
    assert "<title>wconv-sweep: shown</title>" in page


def test_the_same_storage_gives_the_same_page(shown: Storage, page: str) -> None:
    assert html_report(shown, "shown") == page


def test_a_study_that_only_fails_is_there_with_its_cause(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=2))
    searcher.slots.break_(searcher.claim(), failure("no such layer"))

    page = html_report(sqlite_storage, None)

    assert "No trial has completed yet, so nothing can be said." in page
    assert "<strong>1 x ValueError</strong> at net.py:1: no such layer" in page
    assert "Traceback: no such layer" in page
    assert "<img" not in page


def test_a_classifier_has_its_confusion_matrix(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=1))
    searcher.train(searcher.claim())
    folder = sqlite_storage.folder / "tiny/trial_00000"
    folder.mkdir(parents=True)
    np.savetxt(folder / CONFUSION_FILE, [[8, 2], [1, 9]], fmt="%d", delimiter=",")

    assert "Confusion matrix" in html_report(sqlite_storage, None)


def test_a_storage_without_a_study_says_so(sqlite_storage: Storage) -> None:
    with pytest.raises(StudyError, match="holds no study, so there is nothing to report"):
        html_report(sqlite_storage, None)


def test_the_command_writes_the_page_once(
    shown: Storage,
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "report.html"
    command = ("report", "--storage", shown.optuna_url(), "--html", str(path))

    assert run(monkeypatch, capsys, *command) == (0, "", f"written: {path}\n")
    assert path.read_text("utf-8") == page
    path.write_text("mine", "utf-8")
    status, _, errors = run(monkeypatch, capsys, *command)
    assert (status, path.read_text("utf-8")) == (2, "mine")
    assert "exists already. Replace it with --force" in errors
    assert run(monkeypatch, capsys, *command, "--force")[0] == 0
    assert path.read_text("utf-8") == page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 375])
def test_a_browser_shows_it_on_desktop_and_phone_in_light_and_dark(
    page: str, shown: Storage, tmp_path: Path, dark: bool, width_px: int
) -> None:
    browser()
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "report.html").write_text(page, "utf-8")
    # In a frame, because the window of the browser does not get narrower than 500 pixels.
    (folder / "ask.html").write_text(_ASK.replace("WIDTH", str(width_px)), "utf-8")

    with served(folder) as (port, asked):
        dom = dom_of_page(f"http://asked.example:{port}/ask.html", tmp_path, dark=dark, port=port)
    content = re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)
    assert content is not None
    answer = json.loads(content[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))

    assert [each for each in asked if each != "/favicon.ico"] == ["/ask.html", "/report.html"]
    assert answer["title"] == "wconv-sweep: shown"
    assert answer["width"] == width_px
    assert answer["scrolled"] <= width_px
    assert (answer["ground"] < 0.05) is dark
    assert all(size > 0 for size, _ in answer["pictures"])
    assert answer["chosen"] == [not dark]  # the light pictures stand in src
    assert len(answer["ratios"]) > 15
    assert {name: ratio for name, ratio in answer["ratios"].items() if ratio < 4.5} == {}
    status = read_status(shown, "shown")
    assert status.result is not None
    assert f"best single run\n{status.result.best.value:.2f} dB" in answer["text"]
    assert f"{status.ended} of {status.budget} ended" in answer["text"]
