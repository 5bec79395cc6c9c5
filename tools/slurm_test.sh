#!/usr/bin/env bash
# Test on a Slurm cluster, one process a GPU.
set -euo pipefail
usage() {
    cat <<USAGE
usage: ${CALLED_AS:-slurm_test.sh} PARTITION JOB_NAME CONFIG CHECKPOINT [ARGUMENTS OF test...]
environment: GPUS (in all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5),
SRUN_ARGS (more arguments of srun), PYTHON (the interpreter, default: python)
USAGE
}
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit
elif (($# < 4)); then
    usage >&2
    exit 2
fi
exec "$(dirname -- "${BASH_SOURCE[0]}")/_slurm.sh" test.py "$@"
