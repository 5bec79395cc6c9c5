"""Train the model of a config, from scratch or from a checkpoint."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_arguments import SEED, add_common_arguments
from projects.adamae_process import end_on_signals, end_with_launcher, ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    add_common_arguments(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or from the newest in the work folder',
    )
    start.add_argument(
        '--overwrite',
        action='store_true',
        help='start over in a work folder that holds checkpoints, and replace them',
    )
    parser.add_argument('--amp', action='store_true', help='use mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='skip validation')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate to the run's total batch size",
    )
    parser.add_argument('--seed', type=SEED, help="random seed instead of the config's")
    parser.add_argument(
        '--diff-rank-seed',
        action='store_true',
        help='another seed on every process',
    )
    parser.add_argument(
        '--deterministic', action='store_true', help='deterministic kernels only'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.checkpoints import CheckpointMismatch
    from projects.adamae.engine.hooks import CheckpointNotSaved
    from projects.adamae.evaluation.knn import KnnSettingsError
    from projects.adamae.video.error import VideoError

    with launch.errors_in_one_line(FileNotFoundError, TimeoutError, ValueError):
        cfg = launch.load_config(args)
        launch.check_folder('--work-dir', cfg.work_dir)
        launch.lock_work_dir(cfg)
        launch.apply_train_arguments(cfg, args)
        launch.check_training(cfg)
        launch.init_distributed(cfg)
        launch.disable_amp_on_cpu(cfg)
        runner = launch.build_runner(cfg, 'train')
        launch.check_length(runner)
        launch.scale_learning_rate(runner)
        launch.report_space(runner)
        launch.report_batches(runner)
        launch.report_schedule(runner)
        launch.report_videos(runner)
        launch.record_run(runner, 'train')
    kinds = CheckpointMismatch, CheckpointNotSaved, FloatingPointError
    with launch.errors_in_one_line(*kinds, KnnSettingsError, VideoError):
        runner.train()
    launch.end_distributed()


if __name__ == '__main__':
    end_on_signals()
    end_with_launcher()
    with ends_in_one_line():
        main()
