"""Why a job waits, and how it ended, in words with what to do.

SLURM has a word for each reason, in squeue(1) and on its page of job reason codes: these are all
of 22.05 and 26.05, the free text that some of them carry, and the states of jobs that have ended.
A reason that nobody here knows stays as it is.
"""

import re

from wconv_sweep.slurm.limit_words import limit_word

_AFTER = " after "
"""Between why a job waits and how its last run ended; see `wconv_sweep.slurm.jobs`."""
_ITSELF = "it starts by itself"
_AGAIN = "cancel it with scancel and launch again"
_RELEASE = "release it with `scontrol release`"
_CONTINUE = "its trials continue from their checkpoints"
_LOG = "read the pilot's log"

# Of those that begin alike the longest counts.
_WAITS = {
    "None": "SLURM has not looked at it yet",
    "WaitingForScheduling": "SLURM has not looked at it yet",
    "SchedDefer": f"SLURM is busy and starts jobs later: {_ITSELF}",
    "Priority": f"jobs of a higher priority come first: {_ITSELF}",
    "Resources": f"other jobs have the nodes that it needs: {_ITSELF}",
    "Constraints": f"no node can give what it asks for at this moment: {_ITSELF} once one can",
    "Nodes required for job are DOWN, DRAINED": "the nodes that it needs are down, drained or "
    f"kept for other partitions: {_ITSELF} once they are free",
    "ReqNodeNotAvail": "nodes that it could run on are not available at this moment: "
    f"{_ITSELF}; ask the site if that lasts",
    "ReqNodeNotAvail, UnavailableNodes": "nodes that it could run on are down, drained or kept "
    f"for others: {_ITSELF} once they are free; ask the site if that lasts",
    "ReqNodeNotAvail, May be reserved for other job": "nodes that it could run on are kept for "
    f"another job: {_ITSELF}",
    "ReqNodeNotAvail, Reserved for other reservations": "nodes that it could run on are reserved "
    f"for others: {_ITSELF}, sooner with a shorter --time",
    "ReqNodeNotAvail, Reserved for maintenance": "a maintenance begins before it would end: it "
    "starts afterwards, sooner with a shorter --time",
    "NodeDown": f"a node that it needs is down: {_ITSELF} once it is back",
    "FrontEndDown": f"a node of the site's own is down: {_ITSELF} once it is back",
    "PartitionDown": f"the partition starts no jobs: {_ITSELF} once the site opens it again",
    "PartitionInactive": f"the partition starts no jobs: {_ITSELF} once the site opens it again",
    "BeginTime": "its earliest start is still to come, as for two minutes after it was put back: "
    f"{_ITSELF}",
    "Cleaning": f"its last run is still being cleaned up: {_ITSELF}",
    "Prolog": f"the site prepares its nodes: {_ITSELF}",
    "Reservation": f"its reservation has not begun, or is full: {_ITSELF}",
    "Dependency": f"it waits for another job: {_ITSELF} once that has ended",
    "Licenses": f"other jobs have the licenses that it needs: {_ITSELF}",
    "JobArrayTaskLimit": f"as many pilots of its array run as may at a time: {_ITSELF}",
    "FedJobLock": f"the clusters of the federation agree on which one starts it: {_ITSELF}",
    "MaxPoweredUpNodes": f"as many nodes are switched on as the site allows: {_ITSELF}",
    "PowerNotAvail": f"the site has no power left for it at this moment: {_ITSELF}",
    "PowerReserved": f"the site has no power left for it at this moment: {_ITSELF}",
    "MpiPortsBusy": f"other jobs have the ports that it needs: {_ITSELF}",
    "NvidiaImexChannels": f"other jobs have the channels between GPUs that it needs: {_ITSELF}",
    "BurstBufferResources": f"other jobs have the burst buffer that it needs: {_ITSELF}",
    "BurstBufferStageIn": f"its burst buffer is being filled: {_ITSELF}",
    "BurstBufferOperation": "its burst buffer failed: ask the site",
    "BlockFreeAction": f"its nodes are being freed: {_ITSELF}",
    "BlockMaxError": "its nodes failed too often: ask the site",
    "AccountingPolicy": "a limit of the project or of the QOS holds it back: ask the site which",
    "PartitionConfig": "a limit of the partition holds it back: compare `scontrol show partition` "
    "with what it asks for",
    "QOSUsageThreshold": "the project has used too much for this QOS: choose another --qos",
    "QOSJobLimit": f"as many jobs run as the QOS allows at a time: {_ITSELF}",
    "QOSResourceLimit": f"running jobs have all that the QOS allows at a time: {_ITSELF}",
    "QOSTimeLimit": "the time of the QOS is used up: choose another --qos",
    "AssociationJobLimit": f"as many jobs run as the project allows at a time: {_ITSELF}",
    "AssociationResourceLimit": f"running jobs have all that the project allows: {_ITSELF}",
    "AssociationTimeLimit": "the project's time is used up: choose another --account, or ask the "
    "site for more",
}
_HELD = {
    "JobHeldUser": f"you hold it: {_RELEASE}",
    "JobHeldAdmin": "the site holds it: ask the site",
    "JobHoldMaxRequeue": f"it was put back too often and is held: {_LOG}, then {_RELEASE}",
    "job requeued in held state": f"it was put back and is held: {_RELEASE}",
    "job requeued in special exit state": f"it was put back and is held: {_RELEASE}",
    "launch failed requeued held": "a node could not start it, and it is held: "
    f"{_RELEASE}, and tell the site if that repeats",
    "launch failure limit exceeded requeued held": "nodes could not start it too often, and it is "
    f"held: {_RELEASE}, and tell the site if that repeats",
    "user env retrieval failed requeued held": "a node could not read the environment of your "
    f"login, and it is held: check your shell's start-up files, then {_RELEASE}",
}
_NEVER = {
    "PartitionTimeLimit": "its time limit is longer than the partition allows, so it will never "
    f"start: {_AGAIN}; lower --time or walltime_min in the profile, or choose another --partition",
    "PartitionNodeLimit": "it asks for more or fewer nodes than the partition allows or has, so "
    f"it will never start unless nodes are only down at this moment: {_AGAIN}; change --nodes, or "
    "choose another --partition",
    "BadConstraints": f"no node has what it asks for, so it will never start: {_AGAIN}; change "
    "--nodes, or constraint, gpus_used_per_node, cpus_per_gpu or mem_per_gpu_mb in the profile",
    "MaxMemPerLimit": "it asks for more memory than the site allows, so it will never start: "
    f"{_AGAIN}; lower mem_per_gpu_mb in the profile",
    "AccountNotAllowed": "the partition takes no jobs of its account, so it will never start: "
    f"{_AGAIN}; choose another --account or --partition",
    "QOSNotAllowed": "its account or its partition does not allow its QOS, so it will never "
    f"start: {_AGAIN}; choose another --qos or --partition",
    "InvalidAccount": "its account is gone, so it will never start: "
    f"{_AGAIN}; choose another --account",
    "InvalidQOS": f"its QOS is gone, so it will never start: {_AGAIN}; choose another --qos",
    "ReservationDeleted": "its reservation is gone, so it will never start: "
    f"{_AGAIN} without it or with another",
    "ReservationInvalid": "it may not use its reservation, so it will never start: "
    f"{_AGAIN} without it or with another",
    "DependencyNeverSatisfied": "the job that it waits for ended in another way than it should, "
    f"so it will never start: {_AGAIN}",
    "DeadLine": f"it cannot end before its deadline any more, so it will never start: {_AGAIN}",
}
_ENDED = {
    "CANCELLED": "`stop --now`, scancel or the site ended it",
    "TIMEOUT": f"its time was up: {_CONTINUE}",
    "TimeLimit": f"its time was up: {_CONTINUE}",
    "DEADLINE": f"its deadline was up: {_CONTINUE}",
    "NODE_FAIL": f"the site lost one of its nodes: {_CONTINUE}",
    "BOOT_FAIL": f"one of its nodes did not start: {_CONTINUE}",
    "PREEMPTED": f"a job with more rights took its nodes: {_CONTINUE}",
    "REVOKED": "another cluster of the federation has it",
    "OUT_OF_MEMORY": "it needed more memory than it had asked for: raise mem_per_gpu_mb in the "
    "profile",
    "OutOfMemory": "it needed more memory than it had asked for: raise mem_per_gpu_mb in the "
    "profile",
    "FAILED": f"the batch script ended with an error: {_LOG}",
    "NonZeroExitCode": f"the batch script ended with an error: {_LOG}",
    "RaisedSignal": f"a signal killed the batch script: {_LOG}",
    "JobLaunchFailure": "a node could not start it, or a signal killed the batch script: "
    f"{_LOG}, and ask the site where there is none",
    "SystemFailure": "SLURM or a file system failed: ask the site",
    "InactiveLimit": "SLURM ended it because it did nothing: ask the site",
}
_KNOWN = _WAITS | _HELD | _NEVER | _ENDED
_BY_LENGTH = sorted(_KNOWN, key=len, reverse=True)
_FAILED = re.compile(r"FAILED, (?:exit status (?P<status>\d+):(?P<signal>\d+)|(?P<why>.+))")


def explain(reason: str) -> str | None:
    """Return a reason of squeue, or how a job ended, in words; None for an unknown one."""
    waits, _, before = reason.partition(_AFTER)
    words = _explain(waits)
    last_run = _explain(before) if before else None
    if words is None or last_run is None:
        return words
    return f"{words}; its last run: {last_run}"


def in_words(reason: str) -> str:
    """Return a reason with what it means, or an unknown one alone."""
    words = explain(reason)
    return f"{reason}: {words}" if words else reason


def never_starts(reason: str) -> bool:
    """Return whether a job that waits for this reason can never start, whatever else ends."""
    waits = reason.partition(_AFTER)[0]
    limit = limit_word(waits)
    return limit.never if limit else _name(waits) in _NEVER


def is_held(reason: str) -> bool:
    """Return whether a job that waits for this reason does so until it is released."""
    return "held" in reason.lower() or _name(reason) in _HELD


def _explain(reason: str) -> str | None:
    limit = limit_word(reason)
    if limit is not None:
        return limit.sentence()
    failed = _FAILED.fullmatch(reason)
    if failed and failed["why"]:
        return _ENDED.get(_name(failed["why"]) or "", _ENDED["FAILED"])
    if failed and failed["signal"] != "0":
        return f"signal {failed['signal']} killed the batch script: {_LOG}"
    if failed:
        return f"the batch script ended with exit status {failed['status']}: {_LOG}"
    name = _name(reason)
    return None if name is None else _KNOWN[name]


def _name(reason: str) -> str | None:
    """Return the known words that a reason begins with: others carry names of nodes or signals."""
    for name in _BY_LENGTH:
        rest = reason.removeprefix(name)
        if rest != reason and not rest[:1].isalnum():
            return name
    return None
