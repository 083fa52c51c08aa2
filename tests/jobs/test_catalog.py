"""The catalog: what can be named, checked without torch and in words that help."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.catalog_copy import catalog_copy
from wconv_jobs import catalog
from wconv_jobs.catalog import (
    Kind,
    check_data,
    check_options,
    checked_options,
    names,
    reads_files,
    smoke_options,
)
from wconv_jobs.data import load_data, photographs
from wconv_jobs.errors import JobError

MODELS = (
    "cgnet",
    "dncnn",
    "efficientnet_b0",
    "gac_snn",
    "gmlp",
    "lenet",
    "mobilenetv2",
    "nafnet",
    "nin",
    "resnet56",
    "tiny",
    "vgg16",
)
DATA = (
    "cifar100",
    "class_folder",
    "div2k",
    "image_folder",
    "photographs",
    "textures",
)
METRICS = (
    "accuracy",
    "fsim",
    "fsimc",
    "macro_f1",
    "nrmse",
    "psnr_db",
    "ssim",
    "uiq",
    "uiq_global",
)


def test_the_names_are_the_public_modules() -> None:
    assert names("models") == MODELS
    assert names("data") == DATA
    assert names("metrics") == METRICS


@pytest.mark.parametrize("kind", ["models", "data", "metrics"])
def test_the_signature_of_every_module_can_be_read(kind: Kind) -> None:
    for name in names(kind):
        folder = {"folder": "x"} if kind == "data" and reads_files(name) else {}
        assert check_options(kind, name, folder) == []


def test_nothing_is_wrong_with_the_defaults_written_out() -> None:
    options = {"depth": 17, "width": 64, "channels": 3, "kernel_size": 3, "norm": "batch"}

    assert check_options("models", "dncnn", options) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"widht": 8},
            "dncnn: unknown option 'widht'; did you mean 'width'? "
            "known: channels, depth, kernel_size, norm, width.",
        ),
        (
            {"zzz": 8},
            "dncnn: unknown option 'zzz'; known: channels, depth, kernel_size, norm, width.",
        ),
        (
            {"depth": True},
            "dncnn: option 'depth' is True, but input should be a valid integer.",
        ),
        (
            {"depth": 4.5},
            "dncnn: option 'depth' is 4.5, but input should be a valid integer.",
        ),
        (
            {"depth": "4"},
            "dncnn: option 'depth' is '4', but input should be a valid integer.",
        ),
        (
            {"depth": [4]},
            "dncnn: option 'depth' is [4], but input should be a valid integer.",
        ),
        (
            {"depth": 1},
            "dncnn: option 'depth' is 1, but input should be greater than or equal to 2.",
        ),
        (
            {"norm": "layer"},
            "dncnn: option 'norm' is 'layer', but input should be 'batch' or 'none'.",
        ),
        (
            {"kernel_size": 4},
            "dncnn: option 'kernel_size' is 4, but input should be 3, 5, 7, 9 or 11.",
        ),
        ({"depth": {4}}, "dncnn: option 'depth' is {4}, not a JSON value."),
    ],
)
def test_a_wrong_option_is_named_with_what_is_right(
    options: dict[str, object], problem: str
) -> None:
    assert check_options("models", "dncnn", options) == [problem]


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("models", "DnCNN2", f"unknown name 'DnCNN2'; known: {', '.join(MODELS)}."),
        (
            "data",
            "photos",
            f"unknown name 'photos'; did you mean 'photographs'? known: {', '.join(DATA)}.",
        ),
        (
            "metrics",
            "_mean",
            f"unknown name '_mean'; known: {', '.join(METRICS)}.",
        ),
        ("models", "../errors", f"unknown name '../errors'; known: {', '.join(MODELS)}."),
    ],
)
def test_an_unknown_name_is_named_with_the_known_ones(kind: Kind, name: str, problem: str) -> None:
    assert check_options(kind, name, {"any": 1}) == [problem]


def test_a_missing_option_is_named() -> None:
    assert check_options("data", "image_folder", {}) == [
        "image_folder: option 'folder' is missing, and it has no default."
    ]


def test_the_seed_is_no_option() -> None:
    problems = check_options("data", "photographs", {"seed": 1})

    assert problems == [
        "photographs: unknown option 'seed'; known: crop_px, crops_per_epoch, noise_sigma."
    ]


def test_a_metric_takes_no_options() -> None:
    problems = check_options("metrics", "psnr_db", {"data_range": 255})

    assert problems == ["psnr_db: unknown option 'data_range'; it takes none."]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    problems = check_options("data", "photographs", {"noise_sigma": value})

    assert problems == [
        f"photographs: option 'noise_sigma' is {value!r}, but input should be a finite number."
    ]


def test_checked_options_have_the_types_of_the_signature() -> None:
    values = checked_options("models", "mobilenetv2", {"width": 1, "num_classes": 4})
    options = catalog.data_options("photographs", {"noise_sigma": 20, "crop_px": 8})

    assert values == {"width": 1.0, "num_classes": 4}
    assert isinstance(values["width"], float)
    assert options == photographs.Options(noise_sigma=20.0, crop_px=8, crops_per_epoch=800)
    assert isinstance(options.noise_sigma, float)


def test_all_problems_are_raised_at_once() -> None:
    with pytest.raises(JobError, match=r"(?s)'widht'.*\n.*'depth' is 0"):
        checked_options("models", "dncnn", {"widht": 1, "depth": 0})


@pytest.mark.parametrize(
    ("annotation", "good", "value", "bad"),
    [
        ("bool", True, True, 1),
        ("int | None", None, None, "x"),
        ("tuple[int, ...]", [1, 2], (1, 2), [1, 2.5]),
        ("tuple[float, float]", [1, 2], (1.0, 2.0), [1]),
        ("list[str]", ["a"], ["a"], "a"),
        ("Annotated[float, Field(gt=0)]", 1, 1.0, 0),
    ],
)
def test_annotations_that_an_option_may_have(
    annotation: str,
    good: object,
    value: object,
    bad: object,
    tmp_path: Path,
) -> None:
    # What would fail when it ran shows that nothing of the module runs.
    source = f"raise SystemExit\ndef build(*, wanted: {annotation}) -> None: ...\n"
    with catalog_copy(tmp_path) as package:
        (package / "models" / "probe.py").write_text(source)

        assert "probe" in names("models")
        assert checked_options("models", "probe", {"wanted": good}) == {"wanted": value}
        assert len(check_options("models", "probe", {"wanted": bad})) == 1


@pytest.mark.parametrize(
    "statements",
    [
        "import wconv_jobs, wconv_jobs.spec, wconv_jobs.catalog, wconv_jobs.files.images",
        "from wconv_jobs import catalog as c\n"
        "for kind in ('models', 'data', 'metrics'):\n"
        "    for name in c.names(kind): c.check_options(kind, name, {'x': 1})",
        "from wconv_jobs import catalog as c\n"
        "for name in c.names('data'): c.check_data(name, {})\n"
        "assert c.check_data('image_folder', {'folder': '/nowhere'})",
        "import wconv_jobs.data.image_folder",
    ],
)
@pytest.mark.slow
def test_a_login_node_never_imports_torch(statements: str) -> None:
    code = f"import sys\n{statements}\nsys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_data_set_without_files_of_the_user_has_only_its_options_checked() -> None:
    assert check_data("photographs", {}) == []
    assert len(check_data("photographs", {"crop_px": 0})) == 1


@pytest.mark.parametrize("name", ["photographs", "textures"])
def test_the_metrics_of_a_data_set_are_known_without_loading_it(name: str) -> None:
    metrics = catalog.epoch_metrics(catalog.data_kind(name))

    assert metrics == load_data(name, seed=0).metrics


@pytest.mark.parametrize("kind", ["models", "data"])
@pytest.mark.slow
def test_every_model_and_data_set_has_options_for_a_smoke_run(kind: Kind) -> None:
    for name in names(kind):
        folder = {"folder": "x"} if kind == "data" and reads_files(name) else {}
        assert check_options(kind, name, smoke_options(kind, name) | folder) == []


def test_the_shape_of_a_sample_is_known_without_the_data() -> None:
    shape = catalog.sample_shape("div2k", {"folder": "/nowhere", "crop_px": 96})

    assert shape == (3, 96, 96)
    assert catalog.sample_shape("textures", {"channels": 1}) == (1, 32, 32)
    with pytest.raises(JobError, match="option 'crop_px' is 0"):
        catalog.sample_shape("div2k", {"folder": "/nowhere", "crop_px": 0})
