#!/usr/bin/env bash
# Brings up a Slurm of one node on this machine, for the tests of the slurm executor; without it they are skipped.
#
#     bash tests/set_up_slurm.sh          installs what is missing, starts the daemons, prints where SLURM_CONF is
#     bash tests/set_up_slurm.sh stop     ends the daemons and puts everything away
#
# Two partitions share the node: a job in "urgent" preempts one in "normal", which goes back into the queue. No systemd,
# no accounting database and no control groups: it runs in a container.
set -euo pipefail

folder=${SSLKIT_SLURM_FOLDER:-/tmp/sslkit-slurm}
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo --non-interactive); fi
export SLURM_CONF=$folder/slurm.conf

stop() {
    for daemon in slurmctld slurmd munged; do
        pid=$("${as_root[@]}" cat "$folder/$daemon.pid" 2>/dev/null || true)
        if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$daemon" ]; then
            "${as_root[@]}" kill "$pid"
            for _ in $(seq 50); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
        fi
    done
    "${as_root[@]}" rm -rf "$folder"
}

answers() { timeout 5 sinfo --noheader --states=idle,mix,alloc --format=%n 2>/dev/null | grep -q .; }

if [ "${1:-}" = stop ]; then stop; exit 0; fi
if answers; then echo "SLURM_CONF=$SLURM_CONF"; exit 0; fi

if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    "${as_root[@]}" apt-get update --quiet >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --yes --no-install-recommends slurm-wlm munge >&2
fi

stop
"${as_root[@]}" mkdir -p "$folder"/{state,spool,munge}
"${as_root[@]}" chmod 755 "$folder"
host=$(hostname -s)
"${as_root[@]}" tee "$SLURM_CONF" >/dev/null <<CONF
ClusterName=sslkit
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=${SSLKIT_SLURM_PORT:-26817}
SlurmdPort=$((${SSLKIT_SLURM_PORT:-26817} + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=10
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1,sched_min_interval=100000,bf_window=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=10
InactiveLimit=0
MinJobAge=300
MaxArraySize=1001
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10)) State=UNKNOWN
PartitionName=normal Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=$host Default=NO MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
CONF

# A key and a socket of its own: the machine's munge, if it has one, is left alone.
"${as_root[@]}" dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
"${as_root[@]}" chmod 400 "$folder/munge/key"
"${as_root[@]}" chmod 755 "$folder/munge"
"${as_root[@]}" munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge/seed"
"${as_root[@]}" env SLURM_CONF="$SLURM_CONF" slurmctld -c
"${as_root[@]}" env SLURM_CONF="$SLURM_CONF" slurmd

for _ in $(seq 60); do
    if answers; then echo "SLURM_CONF=$SLURM_CONF"; exit 0; fi
    sleep 0.5
done
echo "Slurm does not come up; see $folder/*.log:" >&2
"${as_root[@]}" tail -n 20 "$folder"/*.log >&2
exit 1
