#!/usr/bin/env bash
# Train on a Slurm cluster, one process a GPU.
set -euo pipefail
if (($# < 3)); then
    cat >&2 <<'USAGE'
usage: slurm_train.sh PARTITION JOB_NAME CONFIG [ARGUMENTS OF train.py...]
environment: GPUS (in all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5),
SRUN_ARGS (more arguments of srun), PYTHON (the interpreter, default: python)
USAGE
    exit 2
fi
exec "$(dirname -- "${BASH_SOURCE[0]}")/_slurm.sh" train.py "$@"
