"""Compare methods of pre-training on the motion dataset, over several seeds.

For each config and seed: pre-train, then classify held-out videos by k-NN, by a linear
probe and by fine-tuning; also fine-tune from scratch. What is already there is used
again, so that an interrupted study goes on where it stopped. The outcome is
OUT/table.md and OUT/plot.png.
"""

from __future__ import annotations

import os
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projects.adamae.analysis import study

DEMO = Path(__file__).resolve().parents[1] / 'configs/demo'


def method(text: str) -> study.Method:
    """Read ``CONFIG`` or ``CONFIG@RATIO`` from the command line."""
    path, _, ratio = text.partition('@')
    config = Path(path)
    if not config.is_file():
        raise ArgumentTypeError(f'{path}: no such config')
    from projects.adamae.analysis import study

    options = (f'model.sampler.mask_ratio={ratio}',) if ratio else ()
    return study.Method(config.stem + (ratio and f' {ratio}'), config, options)


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--pretrain',
        nargs='+',
        type=method,
        metavar='CONFIG[@RATIO]',
        help='methods of pre-training, with their own mask ratio or another one '
        '(default: every configs/demo/*_pretrain.py)',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--data', type=Path, default=Path('data/motion'))
    parser.add_argument('--out', type=Path, default=Path('work_dirs/study'))
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.analysis import study

    shipped = map(str, sorted(DEMO.glob('*_pretrain.py')))
    pretrain = args.pretrain or [method(config) for config in shipped]
    os.environ['MOTION_DATA'] = str(args.data)
    with launch.errors_in_one_line(FileNotFoundError, RuntimeError):
        if not (args.data / 'dataset.json').exists():
            raise FileNotFoundError(
                f'no dataset in {args.data}; see tools/make_motion_dataset.py'
            )
        methods = [*pretrain, study.SCRATCH]
        results = study.run_study(methods, args.seeds, args.out, args.jobs)
    text = study.table(results)
    (args.out / 'table.md').write_text(text + '\n')
    study.plot(results, args.out / 'plot.png')
    print(text)


if __name__ == '__main__':
    main()
