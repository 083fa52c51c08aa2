"""Checks a SLURM site: its commands, and whether it takes the pilots of a profile."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from wconv_sweep.clusters.lint import Findings, lint
from wconv_sweep.clusters.pilot_request import PilotShape
from wconv_sweep.clusters.present_limits import association_of, with_present_limits
from wconv_sweep.clusters.profile import SlurmProfile
from wconv_sweep.clusters.site_facts import Limits
from wconv_sweep.doctor.checks import Check, right, skipped, warning, wrong
from wconv_sweep.errors import SlurmError
from wconv_sweep.launching.slurm.asking import ask_for_pilots, fitting_nodes
from wconv_sweep.slurm.accounts import Association
from wconv_sweep.slurm.batch import BatchJob
from wconv_sweep.slurm.commands import ask_slurm
from wconv_sweep.slurm.site import Partition, Site, ask_site
from wconv_sweep.study.config import TrialShape

SITE_LIMIT_S = 180.0
"""Time for all queries; a busy controller takes long for each."""
_ASK_S = 20.0

_COMMANDS = (
    ("sbatch", "--version"),
    ("scontrol", "ping"),
    ("squeue", "--me", "--noheader"),
)
_ACCOUNTING = ("sacct", "--allocations", "--noheader", "--name=wconv-doctor")


def site_checks(
    profile: SlurmProfile, shape: PilotShape, trial: TrialShape, job: BatchJob
) -> Iterator[Check]:
    """Check the site that this machine belongs to.

    Args:
        profile: of the site.
        shape: of the pilots.
        trial: the processes of a trial.
        job: the batch job of the pilots; nothing is submitted.
    """
    answers = True
    for command in _COMMANDS:
        try:
            ask_slurm(command, _ASK_S, cluster=profile.slurm_cluster)
        except SlurmError as error:
            answers = False
            yield wrong(f"{command[0]}: does not answer", str(error))
        else:
            yield right(f"{command[0]}: answers")
    try:
        ask_slurm(_ACCOUNTING, _ASK_S, cluster=profile.slurm_cluster)
    except SlurmError as error:
        yield warning("sacct: does not answer", f"The ends of jobs will be unknown. {error}")
    else:
        yield right("sacct: answers")
    yield from findings_checks(lint(profile, shape, trial), "profile")
    if not answers:
        yield skipped("account, partition, QOS and limits", "SLURM does not answer")
        return
    site = ask_site(profile.slurm_cluster)
    yield right(f"site: cluster {site.cluster}, SLURM {site.version}")
    said: set[Check] = set()
    for name in shape.partitions or (None,):
        for check in _place(profile, replace(shape, partition=name), trial, site):
            # What is not about the partition is the same for each.
            if check not in said:
                yield check
            said.add(check)
    try:
        waits = ask_for_pilots(profile, shape, job)
    except SlurmError as error:
        yield wrong("pilots: the site refuses them", str(error))
    else:
        if waits:
            yield warning("pilots: the site would take them, and they would wait", f"{waits}.")
        else:
            yield right("pilots: the site would take them (sbatch --test-only)")


def findings_checks(findings: Findings, who: str) -> Iterator[Check]:
    """Yield the problems of pilots, or that there are none.

    Args:
        findings: what was found.
        who: has set these limits.
    """
    for text in findings.problems:
        yield wrong(f"{who}: pilots cannot start or train", text)
    for text in findings.warnings:
        yield warning(f"{who}: pilots: look at these", text)
    if not findings.problems and not findings.warnings:
        yield right(f"{who}: pilots are within its limits")


def _place(
    profile: SlurmProfile, shape: PilotShape, trial: TrialShape, site: Site
) -> Iterator[Check]:
    partition = site.partition(shape.partition)
    if partition is None:
        there = ", ".join(found.name for found in site.partitions)
        remedy = f"Use --partition or partition.default with one of: {there}."
        yield wrong(f"partition {shape.partition or ''}: the site has none of this name", remedy)
    else:
        yield _partition(profile, shape, partition)
    account = yield from _account(shape, partition, site)
    yield from _qos(shape, partition, account)
    if partition is not None:
        yield from _limits(profile, shape, trial, site, partition, account)
    if profile.max_array_size > site.max_array_size:
        yield warning(
            f"max_array_size: {profile.max_array_size}, but the site has {site.max_array_size}",
            "Change it in a profile of your own.",
        )


def _partition(profile: SlurmProfile, shape: PilotShape, partition: Partition) -> Check:
    what = f"partition {partition.name}"
    if not partition.up:
        remedy = "Wait until the site has it up again, or choose another with --partition."
        return wrong(f"{what}: is not up", remedy)
    count, _ = fitting_nodes(profile, shape, partition)
    asked = f"{shape.gpus_used_per_node} GPUs and {shape.cpus_per_task} CPUs"
    if count < shape.nodes:
        there = "; ".join(
            f"{kind.nodes} with {kind.gpus} GPUs, {kind.cpus} CPUs, {kind.mem_mb} MiB"
            for kind in partition.kinds
        )
        return wrong(
            f"{what}: {count} nodes with {asked}, {shape.nodes} wanted",
            f"It has {there or 'no nodes'}. Change gpus_per_node, cpus_per_gpu or mem_per_gpu_mb "
            "in a profile of your own, or choose another with --partition.",
        )
    return right(f"{what}: up, {count} nodes with {asked}")


def _account(
    shape: PilotShape, partition: Partition | None, site: Site
) -> Generator[Check, None, Association | None]:
    if not site.associations:
        why = " ".join(site.warnings) or f"the site keeps no accounts, or none of {site.user}"
        yield skipped("account and QOS", why)
        return None
    account = association_of(site, shape.account, partition)
    if account is None:
        wanted = shape.account
        yours = ", ".join(sorted({found.account for found in site.associations}))
        yield wrong(
            f"account {wanted}: not one of {site.user}'s" if wanted else "account: none is given",
            f"Use --account, WCONV_SWEEP_ACCOUNT or account in the profile. Yours: {yours}.",
        )
        return None
    allowed = partition.allow_accounts if partition else ()
    if allowed and account.account.lower() not in allowed:
        yield wrong(
            f"account {account.account}: not in partition {partition.name if partition else ''}",
            f"It takes {', '.join(allowed)}. Use --account or --partition.",
        )
    else:
        yield right(f"account {account.account}: one of {site.user}'s")
    return account


def _qos(
    shape: PilotShape, partition: Partition | None, account: Association | None
) -> Iterator[Check]:
    if account is None:
        return
    name = shape.qos or account.default_qos
    if not name:
        return
    allowed = [each for each in account.qos if not partition or _takes(partition, each)]
    if name in allowed:
        yield right(f"QOS {name}: account {account.account} may use it")
    else:
        remedy = f"Use --qos or qos.default with one of: {', '.join(allowed)}."
        yield wrong(f"QOS {name}: account {account.account} may not use it here", remedy)


def _takes(partition: Partition, qos: str) -> bool:
    return not partition.allow_qos or qos in partition.allow_qos


def _limits(
    profile: SlurmProfile,
    shape: PilotShape,
    trial: TrialShape,
    site: Site,
    partition: Partition,
    account: Association | None,
) -> Iterator[Check]:
    """Compare the pilots, and the profile's limits, with the current limits of the site."""
    now = with_present_limits(profile, site, partition, account, shape.qos)
    yield from findings_checks(lint(now, replace(shape, partition=partition.name), trial), "site")
    said = {**profile.partition.known, **profile.qos.known}
    for name, limits in {**now.partition.known, **now.qos.known}.items():
        changed = _differences(said[name], limits) if name in said else []
        if changed:
            yield warning(
                f"profile: limits of {name} differ from the site's",
                f"{'; '.join(changed)}. `wconv-sweep clusters init` writes a current profile.",
            )


def _differences(said: Limits, now: Limits) -> Sequence[str]:
    return [
        f"{key}: {limit} in the profile, {getattr(now, key) or 'none'} at the site"
        for key, limit in said.model_dump(exclude_none=True).items()
        if getattr(now, key) != limit
    ]
