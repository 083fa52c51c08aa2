-- The tables of wconv-sweep 0.1 with SCHEMA_VERSION 3, as they were created in SQLite, with a study,
-- and its rows in those of Optuna.

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
    gpus_total INTEGER NOT NULL,
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
    "where" TEXT,
    reason TEXT,
    traceback TEXT,
    gpus_per_trial INTEGER NOT NULL,
    provenance TEXT,
    started_at FLOAT NOT NULL,
    ended_at FLOAT,
    PRIMARY KEY (id),
    UNIQUE (slot, attempt),
    FOREIGN KEY(slot) REFERENCES wconv_slots (slot)
);
CREATE INDEX ix_wconv_attempts_slot ON wconv_attempts (slot);

INSERT INTO studies (study_id, study_name) VALUES (1, 'tiny');

INSERT INTO study_directions (study_direction_id, direction, study_id, objective) VALUES (1, 'MAXIMIZE', 1, 0);

INSERT INTO study_system_attributes (study_system_attribute_id, study_id, key, value_json) VALUES (1, 1, 'study:metric_names', '["psnr_db"]');
INSERT INTO study_system_attributes (study_system_attribute_id, study_id, key, value_json) VALUES (2, 1, 'dashboard:note_ver', '1');
INSERT INTO study_system_attributes (study_system_attribute_id, study_id, key, value_json) VALUES (3, 1, 'dashboard:note_str:0', '"# tiny\n\n\n\nWhich density of the [weighted convolution](https://arxiv.org/abs/2505.24558) is best here? `density` of ones is plain convolution.\n\n| | |\n|---|---|\n| network | `dncnn` `{\"depth\": 3, \"width\": 4, \"norm\": \"none\"}` |\n| data | `photographs` `{\"crop_px\": 16, \"crops_per_epoch\": 16}` |\n| recipe | own: adam, lr 0.003, cosine, batch 8, 2 epochs |\n| objective | maximize `psnr_db` of the validation part |\n| density | `density_1`, `density_2`, outermost first, in [0.05, 1], [0.5, 1.5]; dimensionless |\n| fixed points | plain (1, 1), paper (0.1, 0.9) |\n| budget | 11 trials on 1 rank(s) each |\n\nThe value of a trial is that of one training run. Trial attributes: stage and label, replicate (trials of one replicate share initial weights, data order and noise), gpu_hours, host, metrics of the validation part and, as `test_...`, of the test part.\n"');

INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (1, 0, 1, 'COMPLETE', '2026-11-30 02:37:25.894698', '2026-11-30 02:37:25.949073');
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (2, 1, 1, 'COMPLETE', '2026-11-30 02:37:25.972662', '2026-11-30 02:37:26.079759');
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (3, 2, 1, 'COMPLETE', '2026-11-30 02:37:26.098263', '2026-11-30 02:37:26.182662');
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (4, 3, 1, 'PRUNED', '2026-11-30 02:37:26.203743', '2026-11-30 02:37:26.284522');
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (5, 4, 1, 'FAIL', '2026-11-30 02:37:26.304821', '2026-11-30 02:37:26.414452');
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) VALUES (6, 5, 1, 'RUNNING', '2026-11-30 02:37:26.457077', NULL);

INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (1, 1, 'density_1', 1.0, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 1.0, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (2, 1, 'density_2', 1.0, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.5, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (3, 2, 'density_1', 0.1, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 1.0, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (4, 2, 'density_2', 0.9, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.5, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (5, 3, 'density_1', 0.9960979609200857, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 1.0, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (6, 3, 'density_2', 1.485729401689231, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.5, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (7, 4, 'density_1', 0.08098521893226004, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 1.0, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (8, 4, 'density_2', 0.7439270360194425, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.5, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (9, 5, 'density_1', 0.1548426892909036, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 1.0, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (10, 5, 'density_2', 1.307770422632531, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.5, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (11, 6, 'density_1', 0.25649556943109386, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.05, "high": 1.0, "log": false}}');
INSERT INTO trial_params (param_id, trial_id, param_name, param_value, distribution_json) VALUES (12, 6, 'density_2', 1.184331622381733, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.5, "log": false}}');

INSERT INTO trial_values (trial_value_id, trial_id, objective, value, value_type) VALUES (1, 1, 0, 29.75, 'FINITE');
INSERT INTO trial_values (trial_value_id, trial_id, objective, value, value_type) VALUES (2, 2, 0, 29.98, 'FINITE');
INSERT INTO trial_values (trial_value_id, trial_id, objective, value, value_type) VALUES (3, 3, 0, 29.586184, 'FINITE');
INSERT INTO trial_values (trial_value_id, trial_id, objective, value, value_type) VALUES (4, 4, 0, 12.0, 'FINITE');

INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (1, 1, 1, 29.5, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (2, 1, 2, 29.75, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (3, 2, 1, 29.96, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (4, 2, 2, 29.98, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (5, 3, 1, 29.172369, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (6, 3, 2, 29.586184, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (7, 4, 1, 12.0, 'FINITE');
INSERT INTO trial_intermediate_values (trial_intermediate_value_id, trial_id, step, intermediate_value, intermediate_value_type) VALUES (8, 6, 1, 29.0, 'FINITE');

INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (1, 1, 'stage', '"reference"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (2, 1, 'seed_index', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (3, 1, 'seed', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (4, 1, 'label', '"plain"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (5, 1, 'psnr_db', '29.75');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (6, 1, 'test_psnr_db', '29.25');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (7, 1, 'epoch_s', '1.5');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (8, 1, 'torch', '"2.6.0"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (9, 1, 'gpu', '"NVIDIA A100"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (10, 1, 'host', '"n1"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (11, 1, 'gpu_hours', '2.2e-05');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (12, 2, 'stage', '"reference"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (13, 2, 'seed_index', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (14, 2, 'seed', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (15, 2, 'label', '"paper"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (16, 2, 'psnr_db', '29.98');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (17, 2, 'test_psnr_db', '29.48');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (18, 2, 'epoch_s', '1.5');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (19, 2, 'torch', '"2.6.0"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (20, 2, 'gpu', '"NVIDIA A100"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (21, 2, 'host', '"n1"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (22, 2, 'gpu_hours', '4.8e-05');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (23, 3, 'stage', '"search"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (24, 3, 'seed_index', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (25, 3, 'seed', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (26, 3, 'psnr_db', '29.586184');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (27, 3, 'test_psnr_db', '29.086184');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (28, 3, 'epoch_s', '1.5');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (29, 3, 'torch', '"2.6.0"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (30, 3, 'gpu', '"NVIDIA A100"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (31, 3, 'host', '"n1"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (32, 3, 'gpu_hours', '4.6e-05');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (33, 4, 'stage', '"search"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (34, 4, 'seed_index', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (35, 4, 'seed', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (36, 5, 'stage', '"search"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (37, 5, 'seed_index', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (38, 5, 'seed', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (39, 5, 'failed', '"OutOfMemoryError: CUDA out of memory"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (40, 6, 'stage', '"search"');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (41, 6, 'seed_index', '0');
INSERT INTO trial_user_attributes (trial_user_attribute_id, trial_id, key, value_json) VALUES (42, 6, 'seed', '0');

INSERT INTO wconv_schema (version) VALUES (3);

INSERT INTO wconv_studies (study, optuna_study_id, config, version, run_folder, uid, cluster, state, reason, breaker_from, created_at, provenance) VALUES ('tiny', 1, '{"schema": 1, "study": "tiny", "description": "", "code": null, "kernel_size": 5, "model": {"name": "dncnn", "options": {"depth": 3, "width": 4, "norm": "none"}}, "data": {"name": "photographs", "options": {"crop_px": 16, "crops_per_epoch": 16}, "kind": null}, "recipe": {"preset": null, "optimizer": {"name": "adam", "lr": 0.003, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}, "epochs": 2, "batch_norm_over": "batch", "init": "kaiming", "clip_grad_norm": null, "early_stopping": null, "label_smoothing": 0.0, "dtype": "float64", "amp": "none", "test_metrics": [], "batch_size": 8, "lr_schedule": {"name": "cosine", "warmup_epochs": 0, "min_lr": 0.0}}, "objective": {"metric": "psnr_db"}, "search": {"bounds": [[0.05, 1.0], [0.5, 1.5]], "sampler": {"name": "tpe", "startup_trials": 3, "multivariate": true, "constant_liar": true}, "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 10}, "warm_start": [], "stop_when": null, "seeds": 1}, "confirm": {"candidates": 1, "seeds": 2}, "budget": {"trials": 11, "max_attempts": 3, "breaker_failures": 9, "gpu_hours": 50.0}, "trial": {"ranks": 1, "threads_per_rank": 1}, "seed": 0, "reference_densities": {"paper": [0.1, 0.9]}, "is_smoke": false}', '0.1.0', 'tiny', 'beac6d7592ec420a9bc5b69922ce7cf0', 'leonardo', 'active', NULL, 0, 1796006245.8349853, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}}');

INSERT INTO wconv_pilots (id, study, pilot, host, job, gpus_total, started_at, seen_at, ended_at) VALUES (1, 'tiny', 0, 'n1', '77_0.0', 4, 1796006245.8610163, 1796006246.6079845, NULL);

INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (1, 'tiny', 0, 'reference', 'plain', '[1.0, 1.0]', 0, 'complete', 1, 0, NULL, NULL, 1, 0, 2, 29.75, '{"psnr_db": 29.75, "test_psnr_db": 29.25, "epoch_s": 1.5}', '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0", "torch": "2.6.0", "gpu": "NVIDIA A100"}', NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (2, 'tiny', 1, 'reference', 'paper', '[0.1, 0.9]', 0, 'complete', 2, 1, NULL, NULL, 2, 1, 2, 29.98, '{"psnr_db": 29.98, "test_psnr_db": 29.48, "epoch_s": 1.5}', '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0", "torch": "2.6.0", "gpu": "NVIDIA A100"}', NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (3, 'tiny', 2, 'search', NULL, '[0.9960979609200857, 1.485729401689231]', 0, 'complete', 1, 0, NULL, NULL, 3, 2, 2, 29.586184, '{"psnr_db": 29.586184, "test_psnr_db": 29.086184, "epoch_s": 1.5}', '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0", "torch": "2.6.0", "gpu": "NVIDIA A100"}', NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (4, 'tiny', 3, 'search', NULL, '[0.08098521893226004, 0.7439270360194425]', 0, 'pruned', 1, 0, NULL, NULL, 4, 3, 1, 12.0, '{"psnr_db": 12.0}', NULL, NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (5, 'tiny', 4, 'search', NULL, '[0.1548426892909036, 1.307770422632531]', 0, 'failed', 3, 3, NULL, NULL, 5, 4, 0, NULL, NULL, NULL, 'OutOfMemoryError: CUDA out of memory');
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (6, 'tiny', 5, 'search', NULL, '[0.25649556943109386, 1.184331622381733]', 0, 'leased', 2, 0, 'n1/pilot-0/1/965658ff', 1796006306.5910063, 6, 5, 1, 29.0, '{"psnr_db": 29.0}', NULL, NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (7, 'tiny', 6, 'search', NULL, NULL, 0, 'open', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (8, 'tiny', 7, 'confirm', NULL, NULL, 1, 'closed', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (9, 'tiny', 8, 'confirm', NULL, NULL, 2, 'closed', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (10, 'tiny', 9, 'confirm', NULL, NULL, 1, 'closed', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO wconv_slots (slot, study, position, stage, label, density, replicate, state, attempt, broken, owner, lease_until, trial_id, trial, epoch, value, metrics, provenance, reason) VALUES (11, 'tiny', 10, 'confirm', NULL, NULL, 2, 'closed', 0, 0, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL);

INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (1, 1, 1, 'n1/pilot-0/1/2c80748f', 'complete', NULL, NULL, NULL, NULL, 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0", "torch": "2.6.0", "gpu": "NVIDIA A100"}', 1796006245.9080086, 1796006245.949006);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (2, 2, 1, 'n1/pilot-0/1/b2326e50', 'broken', 'RuntimeError', 'loop.py:211', 'CUDA error: no kernel image', 'Traceback (most recent call last):
  File "loop.py"
RuntimeError: CUDA error: no kernel image
', 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006245.972985, 1796006245.9830031);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (3, 2, 2, 'n1/pilot-0/1/5b6ff438', 'complete', NULL, NULL, NULL, NULL, 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0", "torch": "2.6.0", "gpu": "NVIDIA A100"}', 1796006246.0029988, 1796006246.0839882);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (4, 3, 1, 'n1/pilot-0/1/0099cbf1', 'complete', NULL, NULL, NULL, NULL, 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0", "torch": "2.6.0", "gpu": "NVIDIA A100"}', 1796006246.0989952, 1796006246.181996);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (5, 4, 1, 'n1/pilot-0/1/087de1e0', 'pruned', NULL, NULL, NULL, NULL, 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006246.2149873, 1796006246.284993);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (6, 5, 1, 'n1/pilot-0/1/2f1f7b49', 'broken', 'OutOfMemoryError', 'conv.py:30', 'CUDA out of memory', 'Traceback (most recent call last):
  File "conv.py"
OutOfMemoryError: CUDA out of memory
', 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006246.3049889, 1796006246.3449807);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (7, 5, 2, 'n1/pilot-0/1/5a16ff0c', 'broken', 'OutOfMemoryError', 'conv.py:30', 'CUDA out of memory', 'Traceback (most recent call last):
  File "conv.py"
OutOfMemoryError: CUDA out of memory
', 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006246.3720174, 1796006246.3739886);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (8, 5, 3, 'n1/pilot-0/1/ba80cb8f', 'broken', 'OutOfMemoryError', 'conv.py:30', 'CUDA out of memory', 'Traceback (most recent call last):
  File "conv.py"
OutOfMemoryError: CUDA out of memory
', 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006246.4079857, 1796006246.413015);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (9, 6, 1, 'n1/pilot-0/1/803ba67e', 'interrupted', NULL, NULL, 'stopped at a checkpoint', NULL, 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006246.4579954, 1796006246.567993);
INSERT INTO wconv_attempts (id, slot, attempt, owner, outcome, error, "where", reason, traceback, gpus_per_trial, provenance, started_at, ended_at) VALUES (10, 6, 2, 'n1/pilot-0/1/965658ff', 'running', NULL, NULL, NULL, NULL, 2, '{"wconv_sweep": "0.1.0", "code_sha256": "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0", "git_commit": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "git_changed": false, "config_sha256": "5278babebed67809e1b68e8a8a9ac968778db8097f89c6311289ec434c6669aa", "data": {"photographs": "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"}, "host": "n1", "job": "77_0"}', 1796006246.5910063, NULL);
