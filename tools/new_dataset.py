"""Prepare a data set of your own, and write the configs that train on it.

Looks at the videos, writes lists of them, chooses clips, model and recipe from what it
measured, says why, and prints the next commands. The configs go into ./configs.
"""

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from projects.adamae_arguments import COUNT
from projects.adamae_command import command_line, tool_name
from projects.adamae_files import CONFIGS, IS_INSTALLED, SCOPE
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('name', metavar='NAME', help='of the data set, in file names')
    parser.add_argument('--videos', required=True, help='folder of the videos')
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        '--labels',
        nargs='+',
        metavar='PATH',
        help='a table (csv or tsv) with the columns path and label; of another --kind, '
        'the official files or their folder',
    )
    labels.add_argument(
        '--labels-from-folders',
        action='store_true',
        help='the folder below --videos that a video is in names its class',
    )
    parser.add_argument(
        '--kind',
        default='folder',
        help=f'of the labels, as in {tool_name("data/prepare.py")} (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--no-flip',
        dest='flip',
        action='store_false',
        help='flip no video: left and right make a difference to the classes (default: '
        'seen by words such as left and clockwise in their names)',
    )
    parser.add_argument('--out', help='folder of the lists (default: data/NAME)')
    parser.add_argument(
        '--workers',
        type=COUNT,
        default=os.cpu_count() or 1,
        help='processes that look at the videos (default: %(default)s)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace lists and configs'
    )
    args = parser.parse_args(argv)
    if args.labels_from_folders and args.kind != 'folder':
        parser.error('--labels-from-folders: expected kind folder')
    if args.kind != 'folder' and not args.labels:
        parser.error(f'--labels: expected the annotations of {args.kind}, got none')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.datasets.preparers import own_configs, prepare
    from projects.adamae.datasets.preparers.recommend import recommend
    from projects.adamae.utils.text import printable

    with launch.errors_in_one_line(OSError, ValueError, interrupted=launch.GO_ON):
        own_configs.require_name(args.name)
        out = args.out or os.path.join('data', args.name)
        paths = own_configs.config_paths(args.name, 'configs')
        if not args.overwrite:
            own_configs.require_absent(paths)
        options = {'labels_from_folders': True} if args.labels_from_folders else {}
        summary = prepare.prepare(
            prepare.read_collection(
                args.kind, args.videos, args.labels or (), **options
            ),
            out,
            kind=args.kind,
            workers=args.workers,
            overwrite=args.overwrite,
        )
        plan = recommend(summary.facts, args.flip)
        written = own_configs.write_configs(
            plan,
            summary.facts,
            out,
            paths,
            f'{SCOPE}/_base_' if IS_INSTALLED else CONFIGS / '_base_',
        )
    print(f'{summary.gist()}\nlists and summary.md: {printable(out)}\n')
    for reason in plan.reasons:
        print(f'{reason.setting}: {reason.value}\n    {printable(reason.why)}')
    print(f'\nconfigs: {", ".join(map(str, written.values()))}')
    if len(written) == 1 and (args.labels or summary.facts['classes']):
        print(
            'none for fine-tuning: that needs two classes or more, and labeled videos '
            'for validation or a test; add videos, or a column split to the table '
            '(train, val or test)'
        )
    print('\nHow long it takes here, and what fits into memory:')
    print(f'    {command_line("plan.py", written["pretrain"])}')
    print('Then:')
    for command in _next_commands(written, plan):
        print(f'    {command}')


def _next_commands(written: dict[str, Path], plan: Any) -> list[str]:
    """Give the commands from pre-training to a number, or to pictures and features."""
    work_dirs = {k: f'work_dirs/{path.stem}' for k, path in written.items()}
    weights = f'{work_dirs["pretrain"]}/epoch_{plan.epochs}.pth'
    pretrain = command_line('train.py', written['pretrain'])
    if 'finetune' not in written:
        out = f'{work_dirs["pretrain"]}/features.npy'
        return [
            pretrain,
            command_line(
                'visualize.py', written['pretrain'], weights, '--split', 'train'
            ),
            command_line('extract_features.py', written['pretrain'], weights, out),
        ]
    load = '--cfg-options', f'load_from={weights}'
    # The shell finds the best, whose number of epochs is not known yet.
    name = (
        'best_acc_top1_epoch_*' if plan.keep_best else f'epoch_{plan.finetune_epochs}'
    )
    tuned = f'{work_dirs["finetune"]}/{name}.pth'
    return [
        pretrain,
        command_line('train.py', written['finetune'], *load),
        f'{command_line("test.py", written["finetune"])} {tuned}',
        f'{command_line("train.py", written["probe"], *load)}  # or a linear probe',
    ]


if __name__ == '__main__':
    with ends_in_one_line():
        main()
