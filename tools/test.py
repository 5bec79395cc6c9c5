"""Test a checkpoint of a config's model on the config's test set."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_arguments import add_common_arguments
from projects.adamae_process import end_with_launcher, ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    add_common_arguments(parser)
    parser.add_argument(
        '--dump', metavar='PKL', help='write every prediction to this pickle file'
    )
    parser.add_argument(
        '--report',
        metavar='DIR',
        help='folder of the report: predictions, classes, confusion matrix, worst '
        "videos (default: 'report' beside the log; of one label a video)",
    )
    parser.add_argument(
        '--skip-unreadable',
        action='store_true',
        help='succeed although videos cannot be read; they count as wrong',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.checkpoints import CheckpointMismatch
    from projects.adamae.video.error import VideoError

    with launch.errors_in_one_line(FileNotFoundError, TimeoutError, ValueError):
        cfg = launch.load_config(args)
        launch.check_folder('--work-dir', cfg.work_dir)
        launch.apply_test_arguments(cfg, args)
        launch.check_testing(cfg, args.skip_unreadable)
        launch.init_distributed(cfg)
        runner = launch.build_runner(cfg, 'test')
        launch.prepare_report(runner)
        launch.record_run(runner, 'test')
    with launch.errors_in_one_line(CheckpointMismatch, VideoError):
        with launch.metrics_before_dump(runner, args.report):
            runner.test()
    launch.end_distributed()


if __name__ == '__main__':
    end_with_launcher()
    with ends_in_one_line():
        main()
