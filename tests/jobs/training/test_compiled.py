"""A trial whose steps are compiled is the trial that it is without, or it is refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.jobs.ranks import rank_doubles
from tests.jobs.trials import Recorder, denoising, saved
from wconv_jobs.errors import JobError
from wconv_jobs.messages import Demand, Finished
from wconv_jobs.ranks import rank_process
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import run_ranks
from wconv_jobs.training import compiled
from wconv_jobs.training.loop import train

Forward = Callable[..., Tensor]

# torch.compile's advice to upgrade, which is no fault of ours.
OF_PYTHON_3_13_0 = pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of what is compiled, as a user would name it."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "compiled"))
    return tmp_path


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Forward], Forward]], None]:
    """Put something in place of torch.compile: it gets the forward pass, and returns one."""

    def put(make: Callable[[Forward], Forward]) -> None:
        def compile_(forward: Forward, *, options: dict[str, Any]) -> Forward:
            assert options["fallback_random"] is True
            return make(forward)

        monkeypatch.setattr(torch, "compile", compile_)

    return put


Compiler = Callable[[Callable[[Forward], Forward]], None]


def trained(folder: Path, **recipe: Any) -> dict[str, Any]:
    """Train a small trial to its end, and return its checkpoint."""
    train(denoising(folder, **recipe), Recorder())
    return saved(folder)


def test_the_check_of_a_compiled_network_changes_nothing_of_the_trial(
    folders: Path, compiler: Compiler
) -> None:
    compiler(lambda forward: forward)
    eager = trained(folders / "eager")

    found = trained(folders / "compiled", compile=True)

    for name, value in eager["model"].items():
        assert torch.equal(found["model"][name], value), name
    assert found["trial"] != eager["trial"]


def test_training_steps_are_compiled_and_evaluations_are_not(
    folders: Path, compiler: Compiler
) -> None:
    sizes: list[int] = []

    def noted(forward: Forward) -> Forward:
        def call(images: Tensor) -> Tensor:
            sizes.append(images.shape[-1])
            return forward(images)

        return call

    compiler(noted)
    trained(folders / "trial", compile=True, epochs=1)

    assert sizes == [12] * (compiled.CHECKED_STEPS + 2)  # crops; whole pictures are larger


def off_by(factor: float) -> Callable[[Forward], Forward]:
    """Return a compiler whose networks return a little more than they should."""
    return lambda forward: lambda images: forward(images) * factor


@pytest.mark.parametrize(
    ("recipe", "factor"),
    [({"dtype": "float64"}, 1 + 1e-6), ({"dtype": "float32"}, 1.01)],
    ids=["float64", "float32"],
)
def test_a_compiled_network_that_computes_something_else_is_refused(
    recipe: dict[str, Any], factor: float, folders: Path, compiler: Compiler
) -> None:
    compiler(off_by(factor))

    with pytest.raises(JobError, match=r"^recipe.compile: .*: off by .* of step 1,") as error:
        trained(folders / "trial", compile=True, **recipe)

    assert "\n" not in str(error.value)
    compiler(off_by(1 + (factor - 1) * 1e-5))
    assert trained(folders / "trial", compile=True, epochs=1, **recipe)["reports"]


def test_a_compiled_network_that_forgets_its_statistics_is_refused(
    folders: Path, compiler: Compiler
) -> None:
    def forgetful(forward: Forward) -> Forward:
        network: nn.Module = forward.__closure__[0].cell_contents.__self__  # type: ignore[index]

        def call(images: Tensor) -> Tensor:
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.reset_running_stats()
            return forward(images)

        return call

    compiler(forgetful)

    with pytest.raises(JobError, match="in the statistics of step 2"):
        trained(folders / "trial", compile=True)


def test_a_machine_that_cannot_compile_says_so_in_one_line(
    folders: Path, compiler: Compiler
) -> None:
    def call(images: Tensor) -> Tensor:
        raise RuntimeError("no working C++ compiler found\nwith a long report below it")

    compiler(lambda forward: call)

    with pytest.raises(
        JobError, match=r"cannot compile the network here: RuntimeError: no work"
    ) as e:
        trained(folders / "trial", compile=True)

    assert "\n" not in str(e.value)


def test_what_is_compiled_lies_in_a_folder_of_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    first, again = chosen_folder(monkeypatch), chosen_folder(monkeypatch)
    first.chmod(0o777)  # anybody may have put something there
    other = chosen_folder(monkeypatch)

    assert first == again
    assert first.parent == other.parent == tmp_path
    assert other != first
    assert other.stat().st_mode & 0o077 == 0


def chosen_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of both compilers in a new process, below which that of Triton is."""
    # What torch sets as soon as it is loaded.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/tmp/torchinductor_me")
    monkeypatch.setenv("TRITON_CACHE_DIR", "")
    monkeypatch.delenv("TRITON_CACHE_DIR")
    compiled._keep_files_of_the_compiler()
    folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
    assert os.environ["TRITON_CACHE_DIR"] == f"{folder}/triton"
    return Path(folder)


def test_a_folder_that_the_user_names_is_kept(folders: Path) -> None:
    compiled._keep_files_of_the_compiler()

    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folders / "compiled")
    assert os.environ["TRITON_CACHE_DIR"] == str(folders / "compiled")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own
def test_the_compiler_takes_the_options(folders: Path) -> None:
    spec = denoising(folders, compile="reduce-overhead")

    assert torch.compile(torch.relu, options=compiled._options(spec)) is not torch.relu


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own
@OF_PYTHON_3_13_0
@pytest.mark.parametrize(
    ("recipe", "tolerance"),
    [
        ({"dtype": "float64"}, 1e-10),
        ({"dtype": "float32", "memory_format": "channels_last", "amp": "bfloat16"}, 1e-2),
    ],
    ids=["float64", "channels_last, bfloat16"],
)
@pytest.mark.slow
def test_a_compiled_trial_equals_the_eager_one_up_to_rounding(
    recipe: dict[str, Any], tolerance: float, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_ = torch.compile
    # Traced and differentiated as ever; making kernels would take most of a minute.
    monkeypatch.setattr(
        torch, "compile", lambda forward, options: compile_(forward, backend="aot_eager")
    )
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    eager, recorder = Recorder(), Recorder()
    train(denoising(folders / "eager", **recipe), eager)

    train(denoising(folders / "compiled", compile=True, **recipe), recorder)

    assert recorder.metrics[-1] == pytest.approx(eager.metrics[-1], rel=tolerance)
    counters = torch._dynamo.utils.counters
    # The density changes weights and gradients around it, and nothing is compiled again.
    assert (counters["stats"]["unique_graphs"], dict(counters["graph_break"])) == (1, {})


@pytest.mark.slow
def test_two_ranks_train_a_compiled_network_as_one_does(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.compiles_without_kernels)
    alone = Recorder()
    train(denoising(folders / "alone"), alone)
    together = Recorder()

    ended = run_ranks(
        denoising(folders / "two", compile=True),
        placement=Placement(2),
        log_folder=folders / "logs",
        on_report=together,
        on_tick=lambda: Demand.GO,
    )

    assert isinstance(ended, Finished), ended
    assert together.metrics[-1] == pytest.approx(alone.metrics[-1], rel=1e-9)
