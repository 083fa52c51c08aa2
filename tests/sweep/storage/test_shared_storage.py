"""A storage that the pilots of several nodes cannot share is refused, with the remedy."""

from pathlib import Path

import pytest

from wconv_sweep.errors import StorageError
from wconv_sweep.storage.open_storage import Storage, choose_url
from wconv_sweep.storage.shared_storage import check_shared, local_disk_advice


def test_an_sqlite_file_is_refused_for_several_nodes(sqlite_storage: Storage) -> None:
    check_shared(sqlite_storage.url, 1)

    with pytest.raises(StorageError, match=r"cannot be used from 2 nodes: .*`wconv-sweep db st"):
        check_shared(sqlite_storage.url, 2)
    with pytest.raises(StorageError, match=r"cannot be used from 2 nodes, also on lustre"):
        check_shared(
            sqlite_storage.url, 2, "31 22 0:41 / / rw shared:3 - lustre mds:/scratch rw\n"
        )


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("postgresql://me@login01.cluster:5432/db", True),
        ("postgresql://me@10.1.0.5/db", True),
        ("postgresql:///db?service=sweeps", True),
        ("postgresql://me@localhost/db", False),
        ("postgresql://me@127.0.0.1:5432/db", False),
        ("postgresql://me@[::1]/db", False),
        ("postgresql:///db", False),
        ("postgresql:///db?host=/tmp/socket", False),
    ],
)
def test_a_server_that_only_its_own_machine_reaches_is_refused_for_several_nodes(
    text: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    storage = Storage(choose_url(text, tmp_path, {}))

    check_shared(storage.url, 1)
    if shared:
        check_shared(storage.url, 2)
    else:
        with pytest.raises(StorageError, match=r"leads every one of the 2 nodes to itself"):
            check_shared(storage.url, 2)


def test_an_sqlite_file_on_a_network_file_system_is_advised_against(tmp_path: Path) -> None:
    lustre = "31 22 0:41 / / rw shared:3 - lustre mds:/scratch rw\n"
    url = choose_url(None, tmp_path, {})

    advice = local_disk_advice(url, lustre)

    assert advice is not None
    assert "lies on a network file system (lustre)" in advice
    assert local_disk_advice(url, lustre.replace("lustre", "xfs")) is None
    assert local_disk_advice(choose_url("postgresql://h/db", tmp_path, {}), lustre) is None
