#!/usr/bin/env bash
# Test with several processes, one per GPU (or on CPUs, where there is no GPU).
set -euo pipefail
if (($# < 3)); then
    cat >&2 <<'USAGE'
usage: dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENTS OF test.py...]
several nodes: start it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set;
PYTHON names the interpreter (default: python)
USAGE
    exit 2
fi
exec "$(dirname -- "${BASH_SOURCE[0]}")/_dist.sh" test.py "$3" "$1" "$2" "${@:4}"
