"""Compare methods of pre-training, over several seeds.

Without --config: on the motion dataset. For each config and seed: pre-train, then
classify held-out videos by k-NN, by a linear probe and by fine-tuning; also fine-tune
from scratch.

With --config, on one's own data: pre-train as this config says with each of the
--samplers, and let each --judge evaluate every encoder, also one that is not trained.
All is checked before anything trains. More: "Comparing masking strategies on your own
videos" in the documentation.

What is already there is used again, so that an interrupted study goes on where it
stopped. The outcome is OUT/table.md and OUT/plot.png; on one's own data also
OUT/masks.png, what each strategy sees of one video.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from projects.adamae_arguments import COUNT, SEED
from projects.adamae_command import tool_name
from projects.adamae_files import CONFIGS
from projects.adamae_process import ends_in_one_line

if TYPE_CHECKING:
    from projects.adamae.analysis import study
    from projects.adamae.launch.study_checks import StudyPlan

DEMO = CONFIGS / 'demo'
JUDGES = ('knn', 'probe', 'finetune')


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
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=SEED,
        help='of all runs (default: 0 1 2); a single number is a seed, but with '
        '--config it is how many, from 0',
    )
    parser.add_argument(
        '--data', type=Path, help='the motion dataset (default: data/motion)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder (default: work_dirs/study, with --config work_dirs/study_NAME)',
    )
    parser.add_argument(
        '--jobs',
        type=COUNT,
        help='runs at a time, which share GPUs and cores (default: one for each GPU, '
        '2 without)',
    )
    own = parser.add_argument_group("on one's own data")
    own.add_argument('--config', type=Path, help='of pre-training')
    own.add_argument(
        '--samplers',
        nargs='+',
        metavar='NAME[@RATIO]',
        help='adaptive, random, tube, frame, frame_difference (default: all), each '
        'with the published mask ratio or another one; blanks or commas between them',
    )
    own.add_argument(
        '--judge',
        nargs='+',
        metavar='JUDGE',
        help='what evaluates the encoders, some of knn, probe and finetune (default: '
        'knn)',
    )
    own.add_argument('--finetune', type=Path, metavar='CONFIG', help='of fine-tuning')
    own.add_argument('--probe', type=Path, metavar='CONFIG', help='of a linear probe')
    own.add_argument(
        '--dry-run', action='store_true', help='check, say what would run, and stop'
    )
    args = parser.parse_args(argv)
    for option in ('samplers', 'judge', 'finetune', 'probe', 'dry_run'):
        if getattr(args, option) and not args.config:
            name = option.replace('_', '-')
            parser.error(f'--{name} needs --config, a config of pre-training')
    for option in ('pretrain', 'data'):
        if getattr(args, option) and args.config:
            parser.error(f'--{option} is for the motion dataset, without --config')
    args.judge = _split(args.judge or ['knn'])
    unknown = [judge for judge in args.judge if judge not in JUDGES]
    if unknown:
        known = ', '.join(JUDGES)
        parser.error(f'--judge: expected some of {known}, got {unknown[0]!r}')
    return args


def _split(values: Sequence[str]) -> list[str]:
    """Split values with commas in them."""
    return [part for value in values for part in value.split(',') if part]


def motion_study(args: Namespace) -> StudyPlan:
    """Plan the study on the motion dataset."""
    from projects.adamae.analysis import study
    from projects.adamae.launch.study_checks import StudyPlan

    shipped = map(str, sorted(DEMO.glob('*_pretrain.py')))
    pretrain = args.pretrain or [method(config) for config in shipped]
    data = args.data or Path('data/motion')
    os.environ['MOTION_DATA'] = str(data)
    if not (data / 'dataset.json').exists():
        raise FileNotFoundError(
            f'no dataset in {data}; see {tool_name("make_motion_dataset.py")}'
        )
    judges = study.Judges(study.FINETUNE, study.LINEAR, study.FINETUNE)
    return StudyPlan([*pretrain, study.SCRATCH], judges, {}, [], [], {})


def own_study(args: Namespace, out: Path, seeds: Sequence[int]) -> StudyPlan:
    """Plan a study on one's own data."""
    from projects.adamae import launch
    from projects.adamae.analysis.strategies import STRATEGIES

    return launch.plan_study(
        args.config,
        _split(args.samplers or STRATEGIES),
        seeds,
        list(dict.fromkeys(args.judge)),
        out,
        args.probe,
        args.finetune,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.analysis import study

    name = f'study_{args.config.stem}' if args.config else 'study'
    out = args.out or Path('work_dirs') / name
    seeds = list(dict.fromkeys(args.seeds or [0, 1, 2]))
    if args.config and args.seeds and len(args.seeds) == 1:
        seeds = list(range(args.seeds[0]))
    jobs = args.jobs or len(study.visible_devices()) or 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    errors = FileNotFoundError, RuntimeError, ValueError
    with launch.errors_in_one_line(*errors, interrupted=launch.GO_ON):
        if not seeds:
            raise ValueError('--seeds: expected 1 seed or more, got 0')
        plan = own_study(args, out, seeds) if args.config else motion_study(args)
        print('\n'.join(plan.summary), flush=True)
        if args.dry_run:
            return
        launch.check_folder('--out', str(out))
        for path, text in plan.files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding='utf-8')
        if plan.summary:
            print(f'{jobs} at a time; what they print: {out}/*/*/*/printed.log')
        results, failures = study.run_study(plan.methods, seeds, out, jobs, plan.judges)
        launch.report_study(plan, results, seeds[0], out, draws=bool(args.config))
        for failure in failures:
            print(f'\n{failure.reason}:\n{failure.log}', file=sys.stderr)
        if failures:
            first, more = failures[0], len(failures) - 1
            raise RuntimeError(
                f'{first.method.title}, seed {first.seed}: {first.reason}'
                + f'; {more} more failed' * bool(more)
                + '; the same command goes on from here'
            )


if __name__ == '__main__':
    with ends_in_one_line():
        main()
