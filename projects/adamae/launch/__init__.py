"""What stands between a command line and MMEngine's runner.

The tools parse their arguments and call these functions in order; a user's mistakes
are found here, before a model is built, and reported in one line.
"""

from .batch_report import report_batches, report_videos
from .checks import check_length, check_predicting, check_testing, check_training
from .class_checks import check_labels
from .configs import (
    TRAINING_KEYS,
    apply_test_arguments,
    apply_train_arguments,
    load_config,
    load_reading_config,
    require_keys,
)
from .data_checks import check_data
from .distributed import disable_amp_on_cpu, end_distributed, init_distributed
from .errors import GO_ON, errors_in_one_line, exit_with
from .learning_rate import scale_learning_rate
from .locking import lock_work_dir
from .log_failures import metrics_before_dump
from .places import check_folder, report_space
from .reports import prepare_report
from .run_record import record_run
from .runner import build_runner
from .schedule_report import report_schedule
from .study_checks import plan_study
from .study_report import report_study

__all__ = [
    'GO_ON',
    'TRAINING_KEYS',
    'apply_test_arguments',
    'apply_train_arguments',
    'build_runner',
    'check_data',
    'check_folder',
    'check_labels',
    'check_length',
    'check_predicting',
    'check_testing',
    'check_training',
    'disable_amp_on_cpu',
    'end_distributed',
    'errors_in_one_line',
    'exit_with',
    'init_distributed',
    'load_config',
    'load_reading_config',
    'lock_work_dir',
    'metrics_before_dump',
    'plan_study',
    'prepare_report',
    'record_run',
    'report_batches',
    'report_schedule',
    'report_space',
    'report_study',
    'report_videos',
    'require_keys',
    'scale_learning_rate',
]
