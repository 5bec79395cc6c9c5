"""Draw what a pre-trained model sees, predicts and looks at, as PNG files.

Videos that cannot be read are named, the others are drawn; the exit code is 1 then.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import COUNT, SEED, add_cfg_options


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config of the pre-training')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out', metavar='DIR', help="folder (default: pictures in the config's own)"
    )
    parser.add_argument('--split', default='val', choices=('train', 'val'))
    parser.add_argument(
        '--num', type=COUNT, default=4, help='videos of the split (default: 4)'
    )
    parser.add_argument(
        '--video',
        nargs='+',
        metavar='FILE',
        help='draw these instead: middle of video and frame, at the size of the model',
    )
    parser.add_argument(
        '--frame-interval',
        type=COUNT,
        help='in --video (default: the one of the training pipeline)',
    )
    parser.add_argument('--seed', type=SEED, default=0, help='of videos and masks')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from mmengine.device import get_device
    from mmengine.runner import set_random_seed
    from PIL import Image

    from projects.adamae import launch
    from projects.adamae.apis import pictures
    from projects.adamae.apis.models import load_model
    from projects.adamae.datasets.from_config import train_spacing
    from projects.adamae.models import MAERecognizer
    from projects.adamae.utils import cpu

    with launch.errors_in_one_line(FileNotFoundError, ValueError), cpu.onednn():
        cfg = launch.load_config(args)
        out = Path(args.out or Path(cfg.work_dir) / 'pictures')
        launch.check_folder('--out', str(out))
        model = load_model(cfg, args.checkpoint, MAERecognizer).to(get_device())
        set_random_seed(args.seed)
        if args.video:
            given = args.frame_interval
            spacing = dict(frame_interval=given) if given else train_spacing(cfg)
            clips = pictures.video_clips(model, args.video, **spacing)
        else:
            launch.check_data(cfg, (args.split,), object)
            clips = pictures.dataset_clips(cfg, args.split, args.num, args.seed)
        for clip in clips:
            if isinstance(clip, pictures.Clip):
                path = pictures.picture_path(out, clip.name, args.checkpoint)
                Image.fromarray(pictures.draw_clip(model, clip)).save(path)
                print(path)
    launch.exit_with([str(c) for c in clips if not isinstance(c, pictures.Clip)])


if __name__ == '__main__':
    main()
