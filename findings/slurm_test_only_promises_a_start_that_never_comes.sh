#!/usr/bin/env bash
# `sbatch --test-only` of SLURM 22.05 promises a start to a job that never starts.
#
# One expects: `--test-only` says what the real submission would do.
# Happens: where the site has SLURM's default EnforcePartLimits=NO, a job whose time limit is
# above that of its partition gets a start time and status 0. The real `sbatch` takes it, and it
# pends for ever with the reason PartitionTimeLimit. A job of more nodes than the partition allows
# is the other way round: `--test-only` refuses it, and `sbatch` takes it.
# Matters: a script that asks `--test-only` before it submits believes that the site will run its
# jobs, and waits for ever.
# Seen with SLURM 22.05.8 of Debian 12 (needs Debian 12 and root):
#     sbatch --time=02:00:00
#       --test-only: status 0, Job 1 to start at ...
#       submitted: PENDING PartitionTimeLimit
#     sbatch --nodes=2
#       --test-only: status 1, allocation failure: Requested node configuration is not available
#       submitted: PENDING PartitionNodeLimit
set -euo pipefail

folder=$(mktemp -d)
daemons=()
end() {
  if [ ${#daemons[@]} -gt 0 ]; then
    scancel --me || true
    for _ in $(seq 40); do
      [ -z "$(squeue --me --noheader)" ] && break
      sleep 0.5
    done
    kill "${daemons[@]}" || true
    wait "${daemons[@]}" || true
  fi 2> "$folder/end.log"
  rm -rf "$folder"
}
trap end EXIT

(cd "$folder" && apt-get download \
  'slurmctld=22.05.8-4+deb12u3' \
  'slurmd=22.05.8-4+deb12u3' \
  'slurm-client=22.05.8-4+deb12u3' \
  'slurm-wlm-basic-plugins=22.05.8-4+deb12u3' \
  'munge=0.5.15-2+deb12u1' \
  'libmunge2=0.5.15-2+deb12u1' \
  'libhwloc15=2.9.0-1' \
  'libjson-c5=0.16-2' \
  'liblua5.1-0=5.1.5-9' \
  'libnuma1=2.0.16-1') > "$folder/apt.log" 2>&1 || { cat "$folder/apt.log" >&2; exit 2; }
for package in "$folder"/*.deb; do dpkg -x "$package" "$folder/root"; done

programs=$folder/root/usr
plugins=$programs/lib/x86_64-linux-gnu/slurm-wlm
export PATH=$programs/bin:$programs/sbin:$PATH SLURM_CONF=$folder/slurm.conf
export LD_LIBRARY_PATH=$programs/lib/x86_64-linux-gnu:$plugins
read -r controller_port node_port < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))')
mkdir -p "$folder"/{munge,controller,spool}
chmod 755 "$folder"
(umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
printf 'CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n' > "$folder/cgroup.conf"
cat > "$folder/slurm.conf" <<CONFIGURATION
ClusterName=shown
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$controller_port
SlurmUser=root
AuthInfo=socket=$folder/munge/socket
PluginDir=$plugins
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=node1 NodeAddr=127.0.0.1 NodeHostname=$(hostname -s) Port=$node_port CPUs=8
PartitionName=main Nodes=node1 Default=YES MaxTime=60 MaxNodes=1
CONFIGURATION
munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge/socket" \
  --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" \
  --log-file="$folder/munge/log" > "$folder/munged.log" 2>&1 &
daemons+=($!)
slurmctld-wlm -D > "$folder/slurmctld.log" 2>&1 &
daemons+=($!)
slurmd-wlm -D -N node1 -d "$programs/sbin/slurmstepd-wlm" > "$folder/slurmd.log" 2>&1 &
daemons+=($!)
for _ in $(seq 200); do
  nodes=$(sinfo --noheader --states=idle 2> "$folder/sinfo.log" || true)
  [ -n "$nodes" ] && break
  sleep 0.3
done
[ -n "$nodes" ] || { cat "$folder"/*.log >&2; exit 2; }
cd "$folder"

slurmctld-wlm -V
answers=()

ask() {
  echo "sbatch $1"
  status=0
  sbatch --test-only "$1" --wrap=true > test.log 2>&1 || status=$?
  said=$(sed 's/^sbatch: //; s/ to start at .*/ to start at .../' test.log)
  echo "  --test-only: status $status, $said"
  job=$(sbatch --parsable "$1" --wrap=true)
  sleep 10
  reason=$(squeue --noheader --jobs="$job" --format='%T %r')
  echo "  submitted: $reason"
  answers+=("$status $reason")
}

ask --time=02:00:00
ask --nodes=2
if [ "${answers[0]}" != '0 PENDING PartitionTimeLimit' ]; then
  echo "CHANGED: --test-only and the submission agree on the time limit" >&2
  exit 1
fi
