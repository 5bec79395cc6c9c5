#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh have in common; not meant to be called.
#   _dist.sh TOOL GPUS [ARGUMENTS OF THE TOOL...]
set -euo pipefail
tool=$1 gpus=$2
shift 2
if ! [[ $gpus =~ ^[1-9][0-9]*$ ]]; then
    echo "GPUS: expected a number of processes, got '$gpus'" >&2
    exit 2
fi

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$(dirname -- "$tools")${PYTHONPATH:+:$PYTHONPATH}"

nodes=${NNODES:-1} restarts=${MAX_RESTARTS:-0}
# Processes that start again need a new store (_torchrun.py), which a fixed address
# does not allow.
if ((nodes > 1 && restarts > 0)); then
    echo "MAX_RESTARTS=$restarts: expected 0 with NNODES=$nodes, restarts are for one machine" >&2
    exit 2
elif ((nodes == 1)) && { [[ -z ${PORT:-} ]] || ((restarts > 0)); }; then
    # torchrun finds a free port, and would go by the name of the machine.
    meet=(--standalone --local-addr=localhost)
elif ((nodes > 1)) && [[ -z ${MASTER_ADDR:-} ]]; then
    echo "NNODES=$nodes: set MASTER_ADDR to the address of node 0, and NODE_RANK" >&2
    exit 2
else
    meet=(--nnodes="$nodes" --node-rank="${NODE_RANK:-0}"
        --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}"
        --rdzv-conf=timeout="${SECONDS_TO_MEET:-300}")
fi

# On CPUs the processes share the cores; with GPUs torchrun's one thread is right.
if ! command -v nvidia-smi >/dev/null; then
    threads=$(($(nproc) / gpus))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}
    export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
fi

exec "${PYTHON:-python}" "$tools/_torchrun.py" "${meet[@]}" \
    --nproc-per-node="$gpus" --max-restarts="$restarts" "$tools/$tool" "$@" --launcher pytorch
