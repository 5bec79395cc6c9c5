"""Draw what a pre-trained model sees, predicts and looks at: PNG, GIF or MP4.

A picture that is there and was made with the same settings is kept. Videos that cannot
be read are named at the end, the others are drawn; the exit code is 1 then.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from projects.adamae_arguments import COUNT, SEED, add_cfg_options
from projects.adamae_process import ends_in_one_line

if TYPE_CHECKING:
    from mmengine.config import Config

    from projects.adamae.models import MAERecognizer

ROWS = (
    *('video', 'masked-input', 'prediction', 'honest-prediction', 'error'),
    *('probability', 'mask'),
)
FEW = ('video', 'masked input', 'honest prediction', 'probability')


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config of the pre-training')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out', metavar='DIR', help="folder (default: pictures in the config's own)"
    )
    parser.add_argument(
        '--split',
        default='val',
        choices=('train', 'val'),
        help='videos to draw: of train_dataloader or of val_dataloader (default: val)',
    )
    parser.add_argument(
        '--num', type=COUNT, default=4, help='videos of the split (default: 4)'
    )
    parser.add_argument(
        '--video',
        nargs='+',
        metavar='PATH',
        help='draw these instead: files, folders of them, or .txt lists with a path in '
        'each line; the middle of video and frame, at the size of the model',
    )
    parser.add_argument(
        '--frame-interval',
        type=COUNT,
        help='in --video (default: the one of the training pipeline)',
    )
    parser.add_argument(
        '--format',
        nargs='+',
        default=['png'],
        choices=('png', 'gif', 'mp4'),
        help='a sheet of the time steps, or moving pictures (default: png)',
    )
    parser.add_argument(
        '--rows',
        nargs='+',
        choices=ROWS,
        metavar='ROW',
        help=f'of {", ".join(ROWS)} (default: all; of several models {", ".join(FEW)})',
    )
    parser.add_argument(
        '--samplers',
        metavar='NAME[@RATIO],...',
        help='masks to draw below each other: adaptive, random, tube, frame, '
        'frame_difference, each perhaps with a ratio (default: that of the config)',
    )
    parser.add_argument(
        '--also',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='another model to draw below; may be given several times',
    )
    parser.add_argument('--seed', type=SEED, default=0, help='of videos and masks')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.apis import clips, pictures
    from projects.adamae.datasets.from_config import clip_spacing
    from projects.adamae.datasets.loading import UnreachableVideoError
    from projects.adamae.utils import cpu
    from projects.adamae.utils.text import printable
    from projects.adamae.visualization.rows import ROWS as ROW_NAMES

    errors, kinds = [], (FileNotFoundError, ValueError, UnreachableVideoError)
    with launch.errors_in_one_line(*kinds), cpu.onednn():
        cfg = launch.load_config(args)
        out = Path(args.out or Path(cfg.work_dir) / 'pictures')
        launch.check_folder('--out', str(out))
        files = clips.find_files(args.video) if args.video else []
        if not files:
            launch.check_data(cfg, (args.split,), object)
        models, settings = load_models(args, cfg)
        rows = [row.replace('-', ' ') for row in args.rows or []]
        rows = rows or (ROW_NAMES if len(models) == 1 else FEW)
        if files:
            given = args.frame_interval
            spacing = dict(frame_interval=given) if given else clip_spacing(cfg)
            size = next(iter(models.values())).backbone.clip_size
            found = clips.video_clips(size, files, **spacing)
            settings.append(spacing)
        else:
            found = clips.dataset_clips(cfg, args.split, args.num, args.seed)
            settings.append(cfg[f'{args.split}_dataloader'].dataset)
        all_drawn = pictures.draw_clips(
            models, found, out, args.checkpoint, settings, rows, args.seed, args.format
        )
        for number, drawn in enumerate(all_drawn, 1):
            if drawn.error:
                errors.append(printable(drawn.error))
                continue
            for path in drawn.paths:
                is_old = '' if path in drawn.new else ' (was there)'
                print(f'{number}/{len(found)} {path}{is_old}', flush=True)
    launch.exit_with(errors)


def load_models(args: Namespace, cfg: Config) -> tuple[dict[str, MAERecognizer], list]:
    """Load all models to be drawn, by their names; also says what decides them."""
    from mmengine.device import get_device

    from projects.adamae import launch
    from projects.adamae.analysis.strategies import read_strategy
    from projects.adamae.apis import pictures
    from projects.adamae.apis.models import load_model
    from projects.adamae.models import MAERecognizer

    models: dict[str, MAERecognizer] = {}
    settings = []
    given = [(cfg, args.checkpoint)]
    for config, checkpoint in args.also:
        other = launch.load_config(Namespace(**{**vars(args), 'config': config}))
        given.append((other, checkpoint))
    for config, checkpoint in given:
        model = load_model(config, checkpoint, MAERecognizer).to(get_device())
        size = model.backbone.clip_size
        expected = next(iter(models.values()), model).backbone.clip_size
        if size != expected:
            raise ValueError(
                f'--also: expected a model for clips of {expected} (frames, height, '
                f'width) as the first one, got {size}: {config.filename}'
            )
        name = '/'.join(Path(checkpoint).with_suffix('').parts[-2:])
        name = name if args.also else ''
        if not args.samplers:
            models[unique(name, models)] = model
        for text in args.samplers.split(',') if args.samplers else ():
            strategy = read_strategy(text.strip(), config.model.sampler)
            sampler = {**strategy.sampler}
            if not sampler.pop('_delete_', False):
                sampler = {**config.model.sampler, **sampler}
            label = f'{name}\n{strategy.label}'.strip()
            models[unique(label, models)] = pictures.with_sampler(model, sampler)
        settings.append(pictures.settings_of(config, checkpoint, args.samplers))
    return models, settings


def unique(name: str, others: Collection[str]) -> str:
    """Number a name that is there already."""
    number, result = 1, name
    while result in others:
        number += 1
        result = f'{name} ({number})'
    return result


if __name__ == '__main__':
    with ends_in_one_line():
        main()
