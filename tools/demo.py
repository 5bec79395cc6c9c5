"""AdaMAE from nothing to a tested classifier, in minutes, on a laptop.

Makes a small set of videos, pre-trains on them without labels, fine-tunes, tests, and
draws what the sampler looks at. What is already there is used again.
"""

import os
import re
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_command import command_line
from projects.adamae_files import TOOLS
from projects.adamae_process import ends_in_one_line

# Found by name from any folder.
PRETRAIN = 'configs/demo/motion_pretrain.py'
FINETUNE = 'configs/demo/motion_finetune.py'
# Of --quick.
QUICK = {
    'data': Path('data/motion_quick'),
    'out': Path('work_dirs/demo_quick'),
    'num_train': 64,
    'num_val': 25,
    'pretrain_epochs': 3,
    'finetune_epochs': 2,
}
CLASSES = 8
# Lines of a log that a person wants to see; the rest is in the log file.
SHOWN = re.compile(r'Epoch\(.*|[Ee]rror: .*|[\w/.]+: (?:wrote|complete).*')
PROGRESS = re.compile(r'[\w ]+: \d+ of \d+, .*')
NOISE = re.compile(r' (base_lr|lr|time|data_time|loss_\w+|memory): \S+')


def run(title: str, tool: str, *arguments: str | Path) -> None:
    """Run one step, a tool, and show its progress.

    Raises:
        RuntimeError: if it fails.
    """
    print(f'\n== {title}\n   $ {command_line(tool, *arguments)}', flush=True)
    start = time.time()
    last: deque[str] = deque(maxlen=25)
    with subprocess.Popen(
        [sys.executable, '-u', '-W', 'ignore', TOOLS / tool, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            shown, bar = SHOWN.search(line), PROGRESS.match(line)
            if shown:
                print('  ', ' '.join(NOISE.sub('', shown[0]).split()), flush=True)
            elif bar:
                print('  ', bar[0], flush=True)
    if process.returncode:
        print(*last, sep='\n', flush=True)
        raise RuntimeError(f'step {title} failed with exit code {process.returncode}')
    print(f'   done in {time.time() - start:.0f} s', flush=True)


def train(title: str, config: str, work_dir: Path, epochs: int, *options: str) -> Path:
    """Train, go on with what was interrupted, or use what is there.

    Returns:
        Path: the last checkpoint.
    """
    checkpoint = work_dir / f'epoch_{epochs}.pth'
    if checkpoint.exists():
        print(f'\n== {title}\n   already there: {checkpoint}', flush=True)
    else:
        options = (f'train_cfg.max_epochs={epochs}', *options)
        command = [config, '--work-dir', work_dir, '--resume']
        run(title, 'train.py', *command, '--cfg-options', *options)
    return checkpoint


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='a minute or two that show that everything runs; too short to learn much',
    )
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data/motion'),
        help='folder of the videos, made if it is not there (default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/demo'),
        help='folder of checkpoints and pictures (default: %(default)s)',
    )
    parser.add_argument(
        '--num-train', type=int, default=1600, help='training videos (default: 1600)'
    )
    parser.add_argument(
        '--num-val', type=int, default=200, help='held-out videos (default: 200)'
    )
    parser.add_argument(
        '--pretrain-epochs', type=int, default=11, help='of pre-training (default: 11)'
    )
    parser.add_argument(
        '--finetune-epochs', type=int, default=8, help='of fine-tuning (default: 8)'
    )
    args = parser.parse_args(argv)
    if args.quick:
        parser.set_defaults(**QUICK)
        args = parser.parse_args(argv)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch

    with launch.errors_in_one_line(RuntimeError):
        demo(args)


def demo(args: Namespace) -> None:
    """Run the five steps, and print what came out."""
    from projects.adamae.analysis.scalar_logs import newest_metrics
    from projects.adamae.utils.cpu import KEEP_FREED_MEMORY

    start = time.time()
    # Another length is another run: nothing of it is mixed up with what is there.
    pretrain = args.out / f'pretrain_{args.pretrain_epochs}'
    finetune = pretrain / f'finetune_{args.finetune_epochs}'
    os.environ['MOTION_DATA'] = str(args.data)
    os.environ.update({**KEEP_FREED_MEMORY, **os.environ})

    run(
        '1 of 5: videos of a moving square; their label is the direction',
        *('make_motion_dataset.py', args.data, '--workers=2'),
        *(f'--num-train={args.num_train}', f'--num-val={args.num_val}'),
        *(f'--num-classes={CLASSES}', '--num-frames=40'),
    )
    pretrained = train(
        '2 of 5: pre-training without labels (a few minutes)',
        PRETRAIN,
        pretrain,
        args.pretrain_epochs,
    )
    finetuned = train(
        '3 of 5: fine-tuning with labels',
        FINETUNE,
        finetune,
        args.finetune_epochs,
        f'load_from={pretrained}',
    )
    run(
        '4 of 5: testing on held-out videos, 2 clips x 3 crops of each',
        *('test.py', FINETUNE, finetuned, '--work-dir', finetune / 'test'),
    )
    pictures = args.out / 'pictures'
    run(
        '5 of 5: pictures',
        *('visualize.py', PRETRAIN, pretrained, '--out', pictures),
    )

    masking = newest_metrics(pretrain, 'masking/enrichment')
    accuracy = newest_metrics(finetune / 'test', 'acc/top1')
    print(
        f"""
== Done in {(time.time() - start) / 60:.1f} minutes. On {args.num_val} held-out videos:
   top-1 {accuracy['acc/top1']:.1%}, top-5 {accuracy['acc/top5']:.1%}\
 (chance: {1 / CLASSES:.1%}, {5 / CLASSES:.1%})
   the sampler picks tokens on the moving object {masking['masking/enrichment']:.2f}\
 times as often as chance
   error of rebuilt tokens: {masking['masking/error_object']:.2f} on the object,\
 {masking['masking/error_background']:.2f} on the background
   pictures: {pictures}/"""
    )
    if args.quick:
        print('   Everything runs. To see it learn: the same without --quick')


if __name__ == '__main__':
    with ends_in_one_line():
        main()
