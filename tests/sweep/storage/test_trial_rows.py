"""What we write for a trial is what Optuna would have written."""

from datetime import timedelta

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from wconv_sweep.storage import study_rows, trial_rows
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.optuna_client import optuna_client
from wconv_sweep.storage.together import execute_together

DISTRIBUTIONS = {
    "density_1": FloatDistribution(0.05, 1.0),
    "density_2": FloatDistribution(0.5, 1.5),
}


def by_optuna(client: RDBStorage, state: TrialState) -> FrozenTrial:
    study = optuna.create_study(study_name="theirs", storage=client, direction="maximize")
    study.enqueue_trial({"density_1": 0.1, "density_2": 0.9}, user_attrs={"label": "paper"})
    trial = study.ask({**DISTRIBUTIONS})
    trial.report(28.5, 1)
    client.set_trial_system_attr(trial._trial_id, "completed_rung_0", 28.5)
    # Optuna gives a pruned trial its last report as its value.
    study.tell(trial, 29.25 if state is TrialState.COMPLETE else None, state=state)
    return study.get_trials()[0]


def by_us(storage: Storage, client: RDBStorage, state: TrialState) -> FrozenTrial:
    study = optuna.create_study(study_name="ours", storage=client, direction="maximize")
    with storage.write() as connection:
        study_id, count = study_rows.study_id_and_trials(connection, "ours")
        assert count == 0
        trial_id, number = trial_rows.create_trial(connection, study_id, {"label": "paper"})
        assert number == 0
        params = {"density_1": 0.1, "density_2": 0.9}
        trial_rows.set_params(connection, trial_id, params, DISTRIBUTIONS)
        trial_rows.add_intermediate_value(connection, trial_id, 1, 28.5)
        trial_rows.set_system_attributes(connection, trial_id, {"completed_rung_0": 28.5})
        value = {TrialState.COMPLETE: 29.25, TrialState.PRUNED: 28.5}.get(state)
        execute_together(connection, *trial_rows.finishing(trial_id, state, value))
    return study.get_trials()[0]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_optuna_reads_our_trial_like_its_own(storage: Storage, state: TrialState) -> None:
    client = optuna_client(storage)
    theirs, ours = by_optuna(client, state), by_us(storage, client, state)

    for name in ("number", "state", "params", "distributions", "user_attrs"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.system_attrs["completed_rung_0"] == theirs.system_attrs["completed_rung_0"]
    assert ours.values == theirs.values
    assert ours.intermediate_values == theirs.intermediate_values
    assert ours.datetime_start is not None
    assert ours.datetime_complete is not None
    assert theirs.datetime_start is not None
    # Both clocks in one time zone: a start of ours an hour away would show it.
    assert abs(ours.datetime_start - theirs.datetime_start) < timedelta(minutes=10)
    client.remove_session()
    client.engine.dispose()


def test_optuna_goes_on_counting_where_we_stopped(storage: Storage) -> None:
    client = optuna_client(storage)
    by_us(storage, client, TrialState.COMPLETE)
    study = optuna.load_study(study_name="ours", storage=client)

    trial = study.ask()

    assert trial.number == 1
    assert study.best_trial.number == 0
    assert study.best_params == {"density_1": 0.1, "density_2": 0.9}
    client.remove_session()
    client.engine.dispose()
