"""What stands between a command line and MMEngine's runner.

The tools parse their arguments and call these functions in order; whatever a
user can get wrong is found here, before a model is built, and told in one line.
"""

from .arguments import (
    CfgOptions,
    add_cfg_options,
    add_common_arguments,
    add_reading_arguments,
    errors_in_one_line,
)
from .checks import (
    check_compile,
    check_hooks,
    check_layer_decay,
    check_length,
    check_schedule,
    check_views,
)
from .configs import (
    TRAINING_KEYS,
    apply_test_arguments,
    apply_train_arguments,
    load_config,
    load_reading_config,
    require_keys,
)
from .data_checks import check_classes, check_data
from .processes import connect_processes, drop_amp_without_accelerator, has_accelerator

__all__ = [
    'CfgOptions',
    'TRAINING_KEYS',
    'add_cfg_options',
    'add_common_arguments',
    'add_reading_arguments',
    'apply_test_arguments',
    'apply_train_arguments',
    'check_classes',
    'check_compile',
    'check_data',
    'check_hooks',
    'check_layer_decay',
    'check_length',
    'check_schedule',
    'check_views',
    'connect_processes',
    'drop_amp_without_accelerator',
    'errors_in_one_line',
    'has_accelerator',
    'load_config',
    'load_reading_config',
    'require_keys',
]
