-- What wconv-sweep 0.1 with SCHEMA_VERSION 2 wrote of a study that was stopped early, and of a
-- smoke run, beside Optuna's own tables.

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
    provenance TEXT,
    PRIMARY KEY (study)
);

CREATE TABLE wconv_pilots (
    id INTEGER NOT NULL,
    study VARCHAR(100) NOT NULL,
    pilot INTEGER NOT NULL,
    host TEXT NOT NULL,
    job TEXT,
    gpus INTEGER NOT NULL,
    started_at FLOAT NOT NULL,
    seen_at FLOAT NOT NULL,
    ended_at FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(study) REFERENCES wconv_studies (study)
);

CREATE INDEX ix_wconv_pilots_study ON wconv_pilots (study);

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
    owner TEXT,
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
    owner TEXT NOT NULL,
    outcome VARCHAR(12) NOT NULL,
    error TEXT,
    place TEXT,
    reason TEXT,
    traceback TEXT,
    gpus INTEGER NOT NULL,
    provenance TEXT,
    started_at FLOAT NOT NULL,
    ended_at FLOAT,
    PRIMARY KEY (id),
    UNIQUE (slot, attempt),
    FOREIGN KEY(slot) REFERENCES wconv_slots (slot)
);

CREATE INDEX ix_wconv_attempts_slot ON wconv_attempts (slot);

INSERT INTO studies (study_id, study_name) VALUES (1, 'tiny'), (2, 'tiny_smoke');
INSERT INTO trials (trial_id, number, study_id, state) VALUES (1, 0, 1, 'COMPLETE'), (2, 0, 2, 'COMPLETE');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (1, 1, 'stage', '"fixed"'), (2, 1, 'replicate', '0'), (3, 1, 'seed', '0');

INSERT INTO wconv_schema VALUES (2);
INSERT INTO wconv_studies VALUES ('tiny', 1, '{"schema": 1, "study": "tiny", "description": "", "code": null, "kernel_size": 3, "model": {"name": "dncnn", "options": {"depth": 3, "width": 4, "norm": "none"}}, "data": {"name": "photographs", "options": {"crop_px": 16, "crops_per_epoch": 16}, "kind": null}, "recipe": {"preset": null, "optimizer": {"name": "adam", "lr": 0.003, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "schedule": "constant", "epochs": 2, "batch": 8, "batch_norm_over": "batch", "init": "kaiming", "clip_grad_norm": null, "early_stopping": null, "label_smoothing": 0.0, "dtype": "float64", "amp": "none", "test_metrics": []}, "objective": {"metric": "psnr_db"}, "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}, "pruner": {"name": "none"}, "warm_start": [], "replicates": 2, "stop_when": null}, "fixed": {"published": [0.8]}, "confirm": null, "budget": {"trials": 6, "max_attempts": 3, "breaker_failures": 3, "gpu_hours": null}, "trial": {"ranks": 1, "threads_per_rank": 1}, "seed": 0}', '0.1.0', 'tiny', 'be1f379a2cf441f5b4d991f3411d43c0', 'local', 'active', NULL, 0, 1796008677.2, '{"wconv_sweep": "0.1.0", "code_sha256": "77a4217accfdbb54b829c56bef67e4b4ee6b6016c114e75df36ea2e981bc4d64", "git_commit": "98ec1ee4b3267ec58af18ef861aa1fc687bd80a9", "git_changed": false, "config_sha256": "0f693ae3499319e8a1872c7ac62829137044b94131fe4297f72ea49305a5a3df", "data": {}}');
INSERT INTO wconv_studies VALUES ('tiny_smoke', 2, '{"schema": 1, "study": "tiny_smoke", "description": "", "code": null, "kernel_size": 3, "model": {"name": "dncnn", "options": {"depth": 3, "width": 4, "norm": "none"}}, "data": {"name": "photographs", "options": {"crop_px": 16, "crops_per_epoch": 16}, "kind": null}, "recipe": {"preset": null, "optimizer": {"name": "adam", "lr": 0.003, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "schedule": "cosine", "epochs": 2, "batch": 8, "batch_norm_over": "batch", "init": "kaiming", "clip_grad_norm": null, "early_stopping": null, "label_smoothing": 0.0, "dtype": "float64", "amp": "none", "test_metrics": []}, "objective": {"metric": "psnr_db"}, "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}, "pruner": {"name": "none"}, "warm_start": [], "replicates": 1, "stop_when": null}, "fixed": {"published": [0.8]}, "confirm": null, "budget": {"trials": 6, "max_attempts": 3, "breaker_failures": 3, "gpu_hours": null}, "trial": {"ranks": 1, "threads_per_rank": 1}, "seed": 0}', '0.1.0', 'tiny_smoke', '0123456789abcdef0123456789abcdef', 'local', 'active', NULL, 0, 1796008677.2, NULL);
INSERT INTO wconv_slots VALUES (1, 'tiny', 0, 'fixed', 'plain', '[1.0]', 0, 'complete', 1, 0, NULL, NULL, 1, 0, 2, 20.38259846795233, '{"psnr_db": 20.38259846795233, "test_psnr_db": 20.357914335450804}', '{"wconv_sweep": "0.1.0", "code_sha256": "77a4217accfdbb54b829c56bef67e4b4ee6b6016c114e75df36ea2e981bc4d64", "git_commit": "98ec1ee4b3267ec58af18ef861aa1fc687bd80a9", "git_changed": false, "config_sha256": "0f693ae3499319e8a1872c7ac62829137044b94131fe4297f72ea49305a5a3df", "data": {}, "host": "vm", "torch": "2.13.0+cpu", "cuda": "none", "driver": "none", "device": "cpu (x86_64)", "ranks": "1"}', NULL);
INSERT INTO wconv_slots VALUES (2, 'tiny', 1, 'fixed', 'plain', '[1.0]', 1, 'open', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO wconv_attempts VALUES (1, 1, 1, 'vm/pilot-0/9568-06abe090/7e1887d2', 'complete', NULL, NULL, NULL, NULL, 0, '{"wconv_sweep": "0.1.0", "code_sha256": "77a4217accfdbb54b829c56bef67e4b4ee6b6016c114e75df36ea2e981bc4d64", "git_commit": "98ec1ee4b3267ec58af18ef861aa1fc687bd80a9", "git_changed": false, "config_sha256": "0f693ae3499319e8a1872c7ac62829137044b94131fe4297f72ea49305a5a3df", "data": {}, "host": "vm", "torch": "2.13.0+cpu", "cuda": "none", "driver": "none", "device": "cpu (x86_64)", "ranks": "1"}', 1796008683.6, 1796008732.0);
