"""What a framework logs becomes metrics by names that a study can use."""

from typing import Any

from wconv_trial.validation_metrics import validation_metrics


class OneElement:
    """As a tensor."""

    def __float__(self) -> float:
        return 0.5


def test_metrics_of_the_validation_set_lose_their_prefix_and_come_first() -> None:
    logged: dict[str, Any] = {
        "loss": 3.0,
        "val_loss": OneElement(),
        "val/top-1": 1,
        "train_loss": 2.0,
    }

    found = validation_metrics(logged, ("val_", "val/"))

    assert found == {"loss": 0.5, "top_1": 1.0, "train_loss": 2.0}


def test_what_is_no_number_or_is_the_step_is_left_out() -> None:
    logged = {"step": 7.0, "eval_step": 8.0, "eval_counts": [1, 2], "eval_f1": 0.5}

    assert validation_metrics(logged, ("eval_",)) == {"f1": 0.5}
