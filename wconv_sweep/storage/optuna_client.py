"""Optuna's own client of a storage, for rows that only Optuna can write."""

from optuna.storages import RDBStorage

from wconv_sweep.storage.open_storage import Storage


def optuna_client(storage: Storage) -> RDBStorage:
    """Return Optuna's own client of an open storage, whose tables have been checked.

    On PostgreSQL it shares the storage's connection, so that an agent needs one and not two.
    """
    client = RDBStorage(
        storage.optuna_url(),
        engine_kwargs=storage.optuna_arguments,
        skip_compatibility_check=True,  # needs a second connection, and open_storage has done it
        skip_table_creation=True,
    )
    shared = storage.engine_for_optuna
    if shared is not None:
        client.remove_session()
        client.engine.dispose()
        client.engine = shared
        client.scoped_session.configure(bind=shared)
    return client


def close_client(client: RDBStorage, storage: Storage) -> None:
    """Close Optuna's client; the storage stays open."""
    client.remove_session()
    if client.engine is not storage.engine_for_optuna:
        client.engine.dispose()
