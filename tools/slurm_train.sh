#!/usr/bin/env bash
# Train on a Slurm cluster, one process a GPU.
set -euo pipefail
usage() {
    cat <<USAGE
usage: ${CALLED_AS:-slurm_train.sh} PARTITION JOB_NAME CONFIG [ARGUMENTS OF train...]
environment: GPUS (in all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5),
SRUN_ARGS (more arguments of srun), PYTHON (the interpreter, default: python),
SECONDS_BEFORE_END (of the time limit: save and go on in a new job, default 300),
SECONDS_TO_MEET (for all processes to start, default 300)
USAGE
}
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit
elif (($# < 3)); then
    usage >&2
    exit 2
fi
exec "$(dirname -- "${BASH_SOURCE[0]}")/_slurm.sh" train.py "$@"
