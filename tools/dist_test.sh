#!/usr/bin/env bash
# Test with several processes, one per GPU (or on CPUs, where there is no GPU).
set -euo pipefail
usage() {
    cat <<USAGE
usage: ${CALLED_AS:-dist_test.sh} CONFIG CHECKPOINT GPUS [ARGUMENTS OF test...]
several nodes: start it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set;
PYTHON names the interpreter (default: python)
USAGE
}
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit
elif (($# < 3)); then
    usage >&2
    exit 2
fi
exec "$(dirname -- "${BASH_SOURCE[0]}")/_dist.sh" test.py "$3" "$1" "$2" "${@:4}"
