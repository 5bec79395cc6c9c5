#!/usr/bin/env bash
# Train with several processes, one per GPU (or on CPUs, where there is no GPU).
set -euo pipefail
usage() {
    cat <<USAGE
usage: ${CALLED_AS:-dist_train.sh} CONFIG GPUS [ARGUMENTS OF train...]
several nodes: start it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set;
MAX_RESTARTS (default 0): how often all processes start again after one has died, and
resume (one machine)
SECONDS_TO_MEET (default 300) for all processes to start
PYTHON names the interpreter (default: python)
USAGE
}
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit
elif (($# < 2)); then
    usage >&2
    exit 2
fi
exec "$(dirname -- "${BASH_SOURCE[0]}")/_dist.sh" train.py "$2" "$1" "${@:3}"
