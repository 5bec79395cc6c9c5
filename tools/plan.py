"""Plan a training run: measure it here for a minute, and say what all of it takes.

Printed are the time of a step and of loading, the largest batch that fits, workers and
crops a decode that keep the device busy, the time (and cost) of the whole run on
several such devices, and what limits it. Nothing is trained or written.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_arguments import COUNT, add_cfg_options, whole_number
from projects.adamae_process import end_on_signals, ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--seconds',
        type=whole_number(1, 3600),
        default=60,
        help='to measure, besides the start (default: 60)',
    )
    parser.add_argument(
        '--devices',
        type=COUNT,
        nargs='+',
        default=[1, 2, 4, 8],
        metavar='N',
        help='numbers of such devices to plan for (default: 1 2 4 8)',
    )
    parser.add_argument('--price', type=float, help='of a device for an hour')
    parser.add_argument('--json', metavar='FILE', help='also write the numbers there')
    parser.add_argument('--amp', action='store_true', help='use mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='skip validation')
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.price is not None and not args.price >= 0:
        parser.error(f'--price: expected a number from 0, got {args.price}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    begun = time.perf_counter()
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    import json
    from dataclasses import asdict
    from pathlib import Path

    from mmengine.logging import MMLogger

    from projects.adamae import launch
    from projects.adamae.analysis.plan import page
    from projects.adamae.datasets.loading import UnreachableVideoError
    from projects.adamae.launch.planning import (
        OutOfMemory,
        make_plan,
        prepare_to_plan,
    )
    from projects.adamae.video.error import VideoError

    kinds = (
        FileNotFoundError,
        FloatingPointError,
        OutOfMemory,
        UnreachableVideoError,
        ValueError,
        VideoError,
    )
    MMLogger.get_instance('plan', log_level='WARNING')
    with launch.errors_in_one_line(*kinds):
        if args.json:
            Path(args.json).touch()
        cfg = launch.load_config(args)
        prepare_to_plan(cfg, args)
        planned = make_plan(cfg, args.seconds, begun)
        plan = planned.plan
        print(
            page(
                plan,
                args.config,
                planned.machine,
                args.devices,
                args.price,
                planned.gpu_memory,
            )
        )
        if args.json:
            times = {
                name: [
                    time and asdict(time)
                    for time in (plan.time(n, keep) for n in args.devices)
                ]
                for name, keep in (('same_batch', False), ('same_total', True))
            }
            numbers = dict(
                run=asdict(plan.run), measured=asdict(plan.measured), times=times
            )
            Path(args.json).write_text(json.dumps(numbers, indent=2))


if __name__ == '__main__':
    end_on_signals()
    with ends_in_one_line():
        main()
