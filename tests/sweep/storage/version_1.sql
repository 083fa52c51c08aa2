-- The tables of wconv-sweep 0.1 with SCHEMA_VERSION 1, as they were created in SQLite, with a study.

CREATE TABLE wconv_schema (
    version INTEGER NOT NULL
);

CREATE TABLE wconv_studies (
    study VARCHAR(100) NOT NULL,
    optuna_study_id INTEGER NOT NULL,
    config TEXT NOT NULL,
    version VARCHAR(50) NOT NULL,
    run_folder TEXT NOT NULL,
    uid VARCHAR(32) NOT NULL,
    cluster TEXT NOT NULL,
    state VARCHAR(10) NOT NULL,
    reason TEXT,
    breaker_from INTEGER NOT NULL,
    created_at FLOAT NOT NULL,
    PRIMARY KEY (study)
);

CREATE TABLE wconv_slots (
    slot INTEGER NOT NULL,
    study VARCHAR(100) NOT NULL,
    position INTEGER NOT NULL,
    stage VARCHAR(10) NOT NULL,
    label VARCHAR(100),
    density TEXT,
    replicate INTEGER NOT NULL,
    state VARCHAR(10) NOT NULL,
    attempt INTEGER NOT NULL,
    broken INTEGER NOT NULL,
    owner VARCHAR(200),
    lease_until FLOAT,
    trial_id INTEGER,
    trial INTEGER,
    epoch INTEGER NOT NULL,
    value FLOAT,
    metrics TEXT,
    provenance TEXT,
    reason TEXT,
    PRIMARY KEY (slot),
    UNIQUE (study, position),
    FOREIGN KEY(study) REFERENCES wconv_studies (study)
);
CREATE INDEX wconv_slots_by_state ON wconv_slots (study, state, position);

CREATE TABLE wconv_attempts (
    id INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    owner VARCHAR(200) NOT NULL,
    outcome VARCHAR(12) NOT NULL,
    error VARCHAR(200),
    place VARCHAR(200),
    reason TEXT,
    traceback TEXT,
    started_at FLOAT NOT NULL,
    ended_at FLOAT,
    PRIMARY KEY (id),
    UNIQUE (slot, attempt),
    FOREIGN KEY(slot) REFERENCES wconv_slots (slot)
);
CREATE INDEX ix_wconv_attempts_slot ON wconv_attempts (slot);

INSERT INTO wconv_schema VALUES (1);
INSERT INTO wconv_studies VALUES ('tiny', 1, '{"schema": 1, "study": "tiny", "description": "", "code": null, "kernel_size": 3, "model": {"name": "dncnn", "options": {"depth": 3, "width": 4, "norm": "none"}}, "data": {"name": "photographs", "options": {"crop_px": 16, "crops_per_epoch": 16}, "kind": null}, "recipe": {"preset": null, "optimizer": {"name": "adam", "lr": 0.003, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "schedule": "cosine", "epochs": 2, "batch": 8, "batch_norm_over": "batch", "init": "kaiming", "clip_grad_norm": null, "early_stopping": null, "label_smoothing": 0.0, "dtype": "float64", "amp": "none", "test_metrics": []}, "objective": {"metric": "psnr_db"}, "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "random", "startup_trials": 10}, "pruner": {"name": "none"}, "warm_start": [], "replicates": 1, "stop_when": null}, "fixed": {}, "confirm": null, "budget": {"trials": 3, "max_attempts": 3, "breaker_failures": 3, "gpu_hours": null}, "trial": {"ranks": 1, "threads_per_rank": 1}, "seed": 0}', '0.1.0', 'tiny', '0123456789abcdef0123456789abcdef', 'local', 'active', NULL, 0, 1700000000.0);
INSERT INTO wconv_slots VALUES (1, 'tiny', 0, 'fixed', 'plain', '[1.0]', 0, 'complete', 2, 1, NULL, NULL, 1, 0, 2, 28.5, '{"psnr_db": 28.5}', '{"torch": "2"}', NULL);
INSERT INTO wconv_slots VALUES (2, 'tiny', 1, 'search', NULL, '[0.75]', 0, 'leased', 1, 0, 'node/pilot-0/1-abc', 1700000060.0, 2, 1, 1, 28.0, '{"psnr_db": 28.0}', NULL, NULL);
INSERT INTO wconv_slots VALUES (3, 'tiny', 2, 'search', NULL, NULL, 0, 'open', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO wconv_attempts VALUES (1, 1, 1, 'node/pilot-0/1-abc', 'broken', 'RuntimeError', 'net.py:7', 'no', 'tb', 1700000000.0, 1700000010.0);
INSERT INTO wconv_attempts VALUES (2, 1, 2, 'node/pilot-0/1-abc', 'complete', NULL, NULL, NULL, NULL, 1700000010.0, 1700000030.0);
INSERT INTO wconv_attempts VALUES (3, 2, 1, 'node/pilot-0/1-abc', 'running', NULL, NULL, NULL, NULL, 1700000030.0, NULL);
