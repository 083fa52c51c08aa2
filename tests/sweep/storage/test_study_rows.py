"""What we write for a study is what Optuna and its dashboard would have written."""

from contextlib import closing
from threading import Thread

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from wconv_sweep.storage import study_rows
from wconv_sweep.storage.open_storage import Storage, create_storage
from wconv_sweep.storage.optuna_client import optuna_client

# Longer than what one attribute takes.
NOTE = "# A study\n\n" + "Weighted convolution, ä. " * 200


def by_us(storage: Storage, study: str = "ours") -> tuple[int, int]:
    with storage.write() as connection:
        study_rows.create_study(connection, study, "maximize")
        found = study_rows.study_id_and_trials(connection, study)
        study_rows.describe_study(connection, found[0], "psnr_db", NOTE)
    return found


@pytest.mark.filterwarnings("ignore:.*set_metric_names is experimental")
def test_optuna_and_its_dashboard_read_our_study_like_their_own(storage: Storage) -> None:
    client = optuna_client(storage)
    theirs = optuna.create_study(study_name="theirs", storage=client, direction="maximize")
    theirs.set_metric_names(["psnr_db"])
    save_note(theirs, NOTE)

    by_us(storage)
    ours = optuna.load_study(study_name="ours", storage=client)

    assert ours.directions == theirs.directions
    assert ours.metric_names == theirs.metric_names
    assert get_note(ours) == get_note(theirs) == NOTE
    attributes = [client.get_study_system_attrs(each._study_id) for each in (ours, theirs)]
    assert attributes[0] == attributes[1]
    client.remove_session()
    client.engine.dispose()


def test_a_study_is_created_once(storage: Storage) -> None:
    found: list[tuple[int, int]] = []

    def create() -> None:
        with closing(create_storage(storage.url)) as opened:
            found.append(by_us(opened))

    threads = [Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found[0] == found[1] == by_us(storage)


def test_a_study_of_the_users_keeps_the_name_of_its_objective(storage: Storage) -> None:
    client = optuna_client(storage)
    study = optuna.create_study(study_name="ours", storage=client, direction="minimize")
    client.set_study_system_attr(study._study_id, "study:metric_names", ["loss"])

    by_us(storage)

    assert study.metric_names == ["loss"]
    assert get_note(study) == ""
    assert study.direction.name == "MINIMIZE"
    client.remove_session()
    client.engine.dispose()
