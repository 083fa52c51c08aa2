"""The page of a report: everything in one file, true, escaped, and readable on any screen."""

import base64
import csv
import io
import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import browser, dom_of_page
from tests.sweep.nobody import as_nobody
from tests.sweep.searching import launched, study_of
from tests.sweep.tiny import TINY, run
from wconv_jobs.artifacts.before_after import BeforeAfter
from wconv_jobs.messages import Broken
from wconv_jobs.spec import CONFUSION_FILE, TEST_IMAGE_FILE
from wconv_sweep.amounts import density_text
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.html import study as html_study
from wconv_sweep.results.html.networks import Networks, networks_of
from wconv_sweep.results.html.page import html_report
from wconv_sweep.results.report.comparison import report
from wconv_sweep.results.report.formats import render
from wconv_sweep.slots.stages import add_ablation
from wconv_sweep.slots.table import Lease
from wconv_sweep.storage.open_storage import Storage, choose_url, create_storage
from wconv_sweep.storage.tables import SEARCHING, Stage
from wconv_sweep.study.config import PLAIN, StudyConfig

pytestmark = pytest.mark.slow  # all need a page, whose pictures take a second or two

HOSTILE = "</p><script>document.title='broken into'</script><img src='http://example.org/x'> & \""

_ASK = """<!DOCTYPE html><meta charset="utf-8">
<iframe id="frame" src="report.html" style="border:0;width:WIDTHpx;height:900px"></iframe>
<pre id="answer"></pre>
<script>
function light(color) {
  const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map(Number).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(view, element) {
  for (let each = element; each; each = each.parentElement) {
    const color = view.getComputedStyle(each).backgroundColor;
    if (!/, 0\\)$/.test(color)) return color;
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
    drawn: [...new Set([...page.images].filter(each => each.src.startsWith("data:image/svg"))
      .map(each => each.currentSrc === each.src))],
    beside: [...page.querySelectorAll(".images")].map(each => new Set(
      [...each.children].map(child => child.getBoundingClientRect().left)).size),
    narrowest: Math.min(...[...page.querySelectorAll(".images img")].map(each => each.width)),
    ratios: ratios,
    text: page.body.innerText,
  });
});
</script>
"""


ORIGIN = {"device": HOSTILE, "host": "node1", "steady_epochs": "4"}


def failure(reason: str) -> Broken:
    return Broken(
        rank=0,
        error="ValueError",
        reason=reason,
        where="net.py:1",
        traceback=f"Traceback: {reason}",
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
    for number, lease in enumerate(searcher.leases()):
        density = searcher.density_of(lease)
        value = _score(lease, density)
        searcher.slots.report(lease, 1, value - 1, {"psnr_db": value - 1})
        if number == 3:
            searcher.slots.prune(lease)
        elif number == 4:
            searcher.slots.break_(lease, failure(HOSTILE))
        else:
            searcher.slots.report(lease, 2, value, {"psnr_db": value})
            scores = {"test_psnr_db": value, "test_ssim": value / 100, "test_nrmse": 1 / value}
            scores["input_psnr_db"] = 20.17
            # Logarithms of the ratios are 0.01 to 0.05 over the five seeds.
            percent = 0 if lease.label == "plain" else lease.replicate
            scores["epoch_s"] = 10 * math.exp(percent / 100)
            searcher.slots.complete(lease, scores, ORIGIN)


def _score(lease: Lease, density: tuple[float, ...]) -> float:
    if lease.stage in (Stage.REFERENCE, Stage.SEARCH):
        return 30 - sum(
            (value - best) ** 2 for value, best in zip(density, (0.3, 0.9), strict=True)
        )
    plain = 30.0 + lease.replicate
    return plain if lease.label == "plain" else plain + (1, 2, 3, 4, 5)[lease.replicate - 1]


def keep_images(
    storage: Storage,
    row: TrialRow | None,
    *,
    output: int,
    names: tuple[str, ...] = ("face", "sea"),
) -> None:
    """Write what the test of a trial keeps: images of one color."""
    assert row is not None
    assert row.trial is not None
    folder = read_status(storage, "shown").folder.trial(row.trial)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, start=1):
        before, after, truth = (np.full((40, 40, 3), value, np.uint8) for value in (9, output, 99))
        image = BeforeAfter(name, 20.17, 20 + output / 10, before, after, truth)
        (folder / TEST_IMAGE_FILE.format(number)).write_bytes(image.png())


def rows_shown(storage: Storage) -> StudyResult:
    result = selected_result(read_status(storage, "shown"))
    assert result is not None
    return result


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    created = create_storage(choose_url(None, tmp_path_factory.mktemp("shown"), {}))
    write_study(created)
    result = rows_shown(created)
    keep_images(created, result.best, output=85)
    keep_images(created, result.plain, output=80)
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
    plain, selected = rows_of(page, "PSNR on the test set, fresh seeds")
    assert plain[:5] == ["plain convolution", "(1, 1)", "5", "33.00 dB", "1.58 dB"]
    assert selected[2:4] + selected[5:8] == [
        "5",
        "36.00 dB",
        "+3.00 dB",
        "95 %",
        "+1.04 dB to +4.96 dB",
    ]
    assert selected[-1] == "better"
    metrics = [row[0] for row in rows_of(page, "All scores of the test set")]
    assert metrics == ["NRMSE"] * 2 + ["PSNR"] * 2 + ["SSIM"] * 2
    assert len(rows_of(page, "Ablation: PSNR on the test set")) == 4
    assert status.result is not None
    assert f"<dt>best single run</dt><dd>{status.result.best.value:.2f} dB</dd>" in page
    (counts,) = rows_of(page, "Trials by state")
    assert counts == [
        str(status.counts[each]) for each in status.counts if status.counts[each]
    ] + [str(status.budget)]
    assert "<dt>saved by pruning</dt>" in page
    assert "<dt>seed indices confirmed</dt><dd>1, 2, 3, 4, 5</dd>" in page


def test_the_overhead_and_its_interval_are_those_of_every_other_format(
    shown: Storage, page: str
) -> None:
    """0.03 +- 2.776 * sqrt(2.5e-4) / sqrt(5) = 0.03 +- 0.01963, as percent of ratios."""
    compared = report(shown, "shown")
    title = "Other studies: denoising, time per epoch"
    sentence = (
        "Overhead of the weighted network: +3.0 %, by 5 pairs of runs, 95 % interval +1.0 % to "
        "+5.1 %."
    )

    (row,) = rows_of(page, title)
    rows = csv.DictReader(io.StringIO(render(compared, "csv")))
    numbers = {each["metric"]: each for each in rows if each["variant"] == "weighted"}

    assert row[3:-2] == ["10.0", "0", "5", "10.3", "0.16", "5", "3.0", "+1.0 to +5.1"]
    markdown, tex = render(compared, "md"), render(compared, "tex")
    assert re.search(r"\| +3\.0 \| +\+1\.0 to \+5\.1 \|", markdown)
    assert "& 3.0 & +1.0 to +5.1 &" in tex
    assert sentence in page
    assert sentence in markdown
    assert sentence.replace("%", r"\%") in tex
    assert numbers["overhead"]["verdict"] == "slower"
    assert float(numbers["overhead"]["value"]) == pytest.approx(100 * math.expm1(0.03))
    assert float(numbers["overhead_low"]["value"]) == pytest.approx(1.042, abs=1e-2)
    assert float(numbers["overhead_high"]["value"]) == pytest.approx(5.088, abs=1e-2)
    assert numbers["overhead_pairs"]["value"] == numbers["epoch_s_runs"]["value"] == "5"


def test_a_table_of_very_many_trials_is_cut_and_says_so(
    shown: Storage, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (begun,) = re.findall(r"<caption>Started trials: (\d+)</caption>", page)
    assert len(rows_of(page, f"Started trials: {begun}")) == int(begun)
    monkeypatch.setattr(html_study, "MAX_TRIALS", 5)

    cut = html_report(shown, None)

    title = f"Started trials: {begun} (the first 5 are shown)"
    assert [row[0] for row in rows_of(cut, title)] == ["0", "1", "2", "3", "4"]


def test_what_a_study_or_a_traceback_says_becomes_no_element(page: str) -> None:
    elements = Elements(page)

    assert page.count("broken into") >= 4  # description, reason, traceback, device
    assert {tag for tag, _ in elements.found} & {"script", "iframe", "object", "link"} == set()
    assert {(each["src"] or "")[:5] for tag, each in elements.found if tag == "img"} == {"data:"}


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    elements = Elements(page)

    for name in ("src", "srcset"):
        assert all(
            each.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
            for each in elements.attributes(name)
        )
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
    assert len(pictures) == 4 + 8  # two test images: noisy, plain, the selected density, truth
    assert all(len(each["alt"] or "") > 35 for each in pictures)
    assert ("html", {"lang": "en"}) in elements
    assert "<title>wconv-sweep: shown</title>" in page


def test_the_same_storage_gives_the_same_page(shown: Storage, page: str) -> None:
    assert html_report(shown, "shown") == page


def test_a_study_that_only_fails_is_there_with_its_cause(sqlite_storage: Storage) -> None:
    searcher = launched(sqlite_storage, study_of({"name": "random"}, trials=2))
    searcher.slots.break_(searcher.lease(), failure("no such layer"))

    page = html_report(sqlite_storage, None)

    assert "No trial has completed yet, so there is no result." in page
    assert "<strong>1 x ValueError</strong> at net.py:1: no such layer" in page
    assert "Traceback: no such layer" in page
    assert "<img" not in page


def test_images_stand_side_by_side_with_the_scores_of_each_network(
    shown: Storage, page: str
) -> None:
    result = rows_shown(shown)
    assert result.plain is not None

    # The selected density and plain convolution, both on the first fresh seed.
    assert (result.best.stage, result.best.replicate) == (Stage.CONFIRM, 1)
    assert (result.plain.stage, result.plain.replicate) == (Stage.CONFIRM, 1)
    section = page.split("<h3>The network on test images</h3>")[1].split("<h3>")[0]
    selected = density_text(result.best.density)
    assert (
        f"Trial {result.best.trial}, density {selected}, beside plain convolution, trial "
        in section
    )
    assert f"trial {result.plain.trial}, which started with the same weights." in section
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", section)
    assert captions == 2 * [
        "noisy, 20.17 dB",
        "plain convolution, 28.00 dB",
        f"density {selected}, 28.50 dB",
        "truth",
    ]
    assert re.findall(r'alt="(.*?)"', section)[:2] == [
        "The middle of the test image face: noisy, 20.17 dB.",
        "The middle of the test image face: plain convolution, 28.00 dB.",
    ]
    # Scores of the test set: those of the confirmation's first seed, 31 and 31 + 1.
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", section) == [
        ("test set, noisy input", "20.17 dB"),
        ("test set, plain convolution", "31.00 dB"),
        (f"test set, density {selected}", "32.00 dB"),
    ]


def test_the_pixels_on_the_page_are_those_that_the_trials_kept(page: str) -> None:
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="[^"]*image face', page)

    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]
    assert [set(each.flat) for each in images] == [{9}, {80}, {85}, {99}]


def test_plain_convolution_is_left_out_where_it_saw_another_noise(tmp_path: Path) -> None:
    with closing(create_storage(choose_url(None, tmp_path, {}))) as storage:
        write_study(storage)
        result = rows_shown(storage)
        keep_images(storage, result.best, output=85)
        keep_images(storage, result.plain, output=80)
        assert result.plain is not None
        assert result.plain.trial is not None
        folder = read_status(storage, "shown").folder.trial(result.plain.trial)
        (folder / "test_image_1.png").unlink()
        other = folder / "test_image_2.png"
        saw = replace(
            BeforeAfter.of_png(other.read_bytes()), input_HWC=np.full((40, 40, 3), 8, np.uint8)
        )
        other.write_bytes(saw.png())

        page = html_report(storage, None)

    # Of the face plain convolution has kept nothing, of the sea with another input.
    captions = re.findall(r"<figcaption>(\w+).*?</figcaption>", page)
    assert captions[-6:] == 2 * ["noisy", "density", "truth"]
    assert (
        f"Trial {result.best.trial}, density {density_text(result.best.density)}. Of the first "
        "test images the middle is shown; the PSNR is that of the whole image. Of plain "
        f"convolution, trial {result.plain.trial}, no picture on the same noise was kept.</p>"
    ) in page
    assert "which started with" not in page


@pytest.fixture
def kept(sqlite_storage: Storage) -> tuple[Storage, Path, Path]:
    """A storage like `shown`, and the folders of the trials of the best density and of plain."""
    write_study(sqlite_storage)
    result = rows_shown(sqlite_storage)
    keep_images(sqlite_storage, result.best, output=85)
    keep_images(sqlite_storage, result.plain, output=80)
    folder = read_status(sqlite_storage, "shown").folder
    assert result.best.trial is not None
    assert result.plain is not None
    assert result.plain.trial is not None
    return sqlite_storage, folder.trial(result.best.trial), folder.trial(result.plain.trial)


def networks(storage: Storage) -> Networks:
    found = networks_of(read_status(storage, "shown"))
    assert found is not None
    return found


def captions_of(found: Networks) -> list[list[str]]:
    return [[view.caption.split(",")[0][:7] for view in views] for _, views in found.images]


ALL = ["noisy", "plain c", "density", "truth"]
WITHOUT_PLAIN = ["noisy", "density", "truth"]


def test_a_damaged_file_is_told_with_what_to_do_and_the_others_are_shown(
    kept: tuple[Storage, Path, Path],
) -> None:
    storage, best, plain = kept
    (plain / "test_image_1.png").write_bytes(b"torn")

    of_plain = networks(storage)
    (best / "test_image_2.png").write_bytes(b"torn")
    of_both = networks(storage)
    (best / "test_image_1.png").write_bytes(b"torn")
    of_all = networks(storage)

    damage = (
        "shown/{}/test_image_{}.png is not a picture of a test image before and after the network "
        "(it is not a PNG file). Delete it; `wconv-sweep export --study shown --weights FOLDER` "
        "makes the pictures of a trial whose checkpoint is there."
    )
    assert captions_of(of_plain) == [WITHOUT_PLAIN, ALL]
    assert of_plain.text.endswith(f"of the whole image. {damage.format(plain.name, 1)}")
    assert captions_of(of_both) == [WITHOUT_PLAIN]
    assert damage.format(best.name, 2) in of_both.text
    assert of_all.images == []
    assert of_all.text == f"{damage.format(best.name, 1)} {damage.format(best.name, 2)}"


def test_images_of_the_same_name_are_all_shown_each_beside_its_own(
    sqlite_storage: Storage,
) -> None:
    write_study(sqlite_storage)
    result = rows_shown(sqlite_storage)
    keep_images(sqlite_storage, result.best, output=85, names=("sea", "sea"))
    keep_images(sqlite_storage, result.plain, output=80, names=("sea", "sea"))
    assert result.plain is not None
    assert result.plain.trial is not None
    folder = read_status(sqlite_storage, "shown").folder.trial(result.plain.trial)
    first = BeforeAfter.of_png((folder / "test_image_1.png").read_bytes())
    (folder / "test_image_1.png").write_bytes(replace(first, output_psnr_db=27.0).png())

    found = networks(sqlite_storage)

    assert [name for name, _ in found.images] == ["sea", "sea"]
    assert [views[1].caption for _, views in found.images] == [
        "plain convolution, 27.00 dB",
        "plain convolution, 28.00 dB",
    ]


def test_networks_of_different_seeds_are_told_apart(sqlite_storage: Storage) -> None:
    write_study(sqlite_storage)
    status = read_status(sqlite_storage, "shown")
    # Before the confirmation, and with a seed of its own for plain convolution.
    rows = [
        replace(row, replicate=4) if row.label == PLAIN else row
        for row in status.shown
        if row.stage in SEARCHING
    ]
    searched = replace(status, shown=rows)
    assert searched.result is not None
    assert searched.result.plain is not None
    keep_images(sqlite_storage, searched.result.best, output=85)
    keep_images(sqlite_storage, searched.result.plain, output=80)

    found = networks_of(searched)

    assert found is not None
    assert (
        f"beside plain convolution, trial {searched.result.plain.trial}, which started with other "
        "weights (seed index 4, not 0)."
    ) in found.text


def test_a_score_that_is_infinite_is_shown(kept: tuple[Storage, Path, Path]) -> None:
    storage, best, _ = kept
    path = best / "test_image_1.png"
    path.write_bytes(replace(BeforeAfter.of_png(path.read_bytes()), output_psnr_db=math.inf).png())

    (_, views), _ = networks(storage).images

    assert views[2].caption.endswith(", inf dB")


def test_a_folder_that_may_not_be_read_is_told_with_what_to_do(
    kept: tuple[Storage, Path, Path],
) -> None:
    storage, best, plain = kept
    status = read_status(storage, "shown")
    for folder in (best, plain):
        folder.chmod(0o700)

    with as_nobody():
        found = networks_of(status)

    assert found is not None
    assert found.images == []
    assert found.text == (
        f"shown/{best.name} in the folder of runs cannot be read (Permission denied) and is not "
        "shown. Where you may not read it, ask its owner for the right, or for this page."
    )


def test_a_trial_that_kept_nothing_is_told_with_what_to_do(sqlite_storage: Storage) -> None:
    write_study(sqlite_storage)
    number = rows_shown(sqlite_storage).best.trial

    page = html_report(sqlite_storage, None)

    assert (
        f"<p>There is no shown/trial_{number:05d}/test_image_1.png in the folder of runs, so what "
        "the network does to the test set cannot be shown. Trials of an earlier version or with "
        "a full disk have kept none, or the data are not pairs of gray or RGB images of one size, "
        "of which none are kept. In the first case, while the trial&#39;s checkpoint and the data "
        "are there, `wconv-sweep export --study shown --weights FOLDER` works it out.</p>"
    ) in page
    assert "data:image/png" not in page


@pytest.fixture
def classifier(sqlite_storage: Storage) -> Storage:
    """Return a storage with a classifier that has been trained once."""
    config = StudyConfig.model_validate(
        TINY
        | {
            "model": {"name": "tiny", "options": {"num_classes": 4}},
            "data": {"name": "textures"},
            "objective": {"metric": "accuracy"},
            "budget": {"trials": 1},
        }
    )
    searcher = launched(sqlite_storage, config)
    searcher.train(searcher.lease(), lambda density, epoch: 0.5)
    return sqlite_storage


def test_a_classifier_has_its_confusion_matrix(classifier: Storage) -> None:
    folder = classifier.folder / "tiny/trial_00000"
    folder.mkdir(parents=True)
    np.savetxt(folder / CONFUSION_FILE, [[8, 2], [1, 9]], fmt="%d", delimiter=",")

    page = html_report(classifier, None)

    assert "Confusion matrix" in page
    assert "The network on test images" not in page


def test_a_classifier_without_its_confusion_matrix_says_so(classifier: Storage) -> None:
    page = html_report(classifier, None)

    assert (
        "<p>There is no tiny/trial_00000/test_confusion.csv in the folder of runs, so the page "
        "cannot show which classes the network confuses. Trials of an earlier version or with "
        "a full disk have kept none; one that is retrained keeps it.</p>"
    ) in page


def test_a_confusion_matrix_that_may_not_be_read_is_told_with_what_to_do(
    classifier: Storage,
) -> None:
    status = read_status(classifier, "tiny")
    folder = status.folder.trial(0)
    folder.mkdir(parents=True)
    (folder / CONFUSION_FILE).write_text("1\n")
    folder.chmod(0o700)

    with as_nobody():
        found = networks_of(status)

    assert found is not None
    assert found.text.startswith(
        "tiny/trial_00000/test_confusion.csv in the folder of runs cannot be read (Permission "
    )


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
    assert "already exists. Replace it with --force" in errors
    assert run(monkeypatch, capsys, *command, "--force")[0] == 0
    assert path.read_text("utf-8") == page


def test_a_page_with_images_needs_no_torch(shown: Storage, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    arguments = ["report", "--storage", str(shown.optuna_url()), "--html", str(path)]
    script = (
        "import sys\n"
        f"sys.argv = ['wconv-sweep', *{arguments!r}]\n"
        "from wconv_sweep.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print('torch' in sys.modules)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert ended.stdout == "False\n"
    assert "data:image/png" in path.read_text("utf-8")


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
    assert answer["drawn"] == [not dark]  # the light pictures stand in src
    assert answer["beside"] == [4 if width_px == 1280 else 2] * 2  # columns of test images
    assert answer["narrowest"] >= 120
    assert len(answer["ratios"]) > 15
    assert {name: ratio for name, ratio in answer["ratios"].items() if ratio < 4.5} == {}
    status = read_status(shown, "shown")
    assert status.result is not None
    assert f"best single run\n{status.result.best.value:.2f} dB" in answer["text"]
    assert f"{status.ended} of {status.budget} ended" in answer["text"]
