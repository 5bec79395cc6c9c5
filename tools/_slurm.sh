#!/usr/bin/env bash
# What slurm_train.sh and slurm_test.sh have in common; not meant to be called.
#   _slurm.sh TOOL PARTITION JOB_NAME [ARGUMENTS OF THE TOOL...]
set -euo pipefail
tool=$1 partition=$2 job=$3
shift 3

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$(dirname -- "$tools")${PYTHONPATH:+:$PYTHONPATH}"
export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}

gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
# Before the time limit, training gets SIGUSR1, saves and exits with 128 + SIGUSR1.
warn=() saved=$((128 + $(kill -l USR1)))
[[ $tool == train.py ]] && warn=(--signal="USR1@${SECONDS_BEFORE_END:-300}")
for name in TERM HUP USR1 INT; do
    # shellcheck disable=SC2064  # name is that of now
    trap "kill -s $name \$srun" "$name"
done
while true; do
    # shellcheck disable=SC2086  # SRUN_ARGS is a list of arguments
    srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" \
        --ntasks="$gpus" --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 "${warn[@]}" \
        ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$tools/$tool" "$@" --launcher slurm &
    srun=$! code=0
    wait "$srun" || code=$?
    while kill -0 "$srun" 2>/dev/null; do  # a signal has ended `wait`
        code=0
        wait "$srun" || code=$?
    done
    ((code == saved)) || exit "$code"
    if [[ -n ${SLURM_JOB_ID:-} ]]; then  # of sbatch
        exec scontrol requeue "$SLURM_JOB_ID"
    fi
    # train.py resumes by itself, as in a requeued job.
    export SLURM_RESTART_COUNT=$((${SLURM_RESTART_COUNT:-0} + 1))
done
