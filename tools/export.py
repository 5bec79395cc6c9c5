"""Write a model to a file that runs without this project: ONNX or torch.export.

Of a classifier it gives the scores of clips, of a pre-trained model the features of its
encoder; any number of clips at a time. The file is compared with the model, on random
and on real clips, before it is written.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import add_cfg_options
from projects.adamae_process import announce, ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config of the model')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out',
        required=True,
        metavar='FILE',
        help='file to write: .onnx, or .pt2 for torch.export',
    )
    parser.add_argument(
        '--uint8',
        action='store_true',
        help='take pixels from 0 to 255 and normalize them in the file (default: take '
        'normalized clips)',
    )
    parser.add_argument(
        '--video',
        nargs='+',
        default=[],
        metavar='VIDEO',
        help='video files to compare on (default: two of the config)',
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    announce('loading the model')
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.apis import export
    from projects.adamae.apis.models import load_model
    from projects.adamae.datasets.loading import UnreachableVideoError
    from projects.adamae.utils.text import printable

    kinds = FileNotFoundError, ValueError, UnreachableVideoError
    with launch.errors_in_one_line(*kinds):
        export.check_target(args.out)
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, ('model',))
        model = load_model(cfg, args.checkpoint)
        module = export.ClipModel(model, args.uint8)
        info, warning = export.describe(cfg, module, args.checkpoint)
        if warning:
            print(printable(f'warning: {warning}'), flush=True)
        clips = export.read_clips(cfg, model.backbone.clip_size, args.video)
        launch.check_folder('--out', str(Path(args.out).parent))
        print('tracing the model and comparing the file with it ...', flush=True)
        info['config'] = Path(args.config).name
        difference = export.export(model, args.out, clips, args.uint8, info)
    print(
        printable(
            f'{args.out}: {info["clips"]} -> {module.output} {info[module.output]}; '
            f'{Path(args.out).stat().st_size / 1e6:.1f} MB; differs from the model by '
            f'up to {difference:.1e} of the largest output'
        )
    )


if __name__ == '__main__':
    with ends_in_one_line():
        main()
