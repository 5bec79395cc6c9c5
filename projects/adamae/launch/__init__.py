"""What stands between a command line and MMEngine's runner.

The tools parse their arguments and call these functions in order; a user's mistakes
are found here, before a model is built, and reported in one line.
"""

from .arguments import errors_in_one_line
from .checks import check_length, check_testing, check_training
from .configs import (
    TRAINING_KEYS,
    apply_test_arguments,
    apply_train_arguments,
    load_config,
    load_reading_config,
    require_keys,
)
from .data_checks import check_data
from .distributed import disable_amp_on_cpu, init_distributed

__all__ = [
    'TRAINING_KEYS',
    'apply_test_arguments',
    'apply_train_arguments',
    'check_data',
    'check_length',
    'check_testing',
    'check_training',
    'disable_amp_on_cpu',
    'errors_in_one_line',
    'init_distributed',
    'load_config',
    'load_reading_config',
    'require_keys',
]
