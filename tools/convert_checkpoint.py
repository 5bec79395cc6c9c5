"""Convert checkpoints of AdaMAE, VideoMAE, transformers and MMAction2."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_process import ends_in_one_line

FAMILIES = ('ours', 'released', 'transformers', 'mmaction')


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'src', help='a file, or a folder of transformers; its kind is recognized'
    )
    parser.add_argument(
        'dst', help='a file (.pth or .safetensors), or a folder for transformers'
    )
    parser.add_argument(
        '--to', choices=FAMILIES, default='ours', help='default: %(default)s'
    )
    parser.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='what SRC does not say about its model: backbone.num_frames=16 '
        'backbone.img_size=224 backbone.num_heads=12 decoder.num_heads=6',
    )
    parser.add_argument('--force', action='store_true', help='overwrite DST')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae.checkpoints.convert import convert, parse_overrides
    from projects.adamae.launch import errors_in_one_line

    with errors_in_one_line(OSError, ValueError):
        overrides = parse_overrides(args.set)
        report = convert(args.src, args.dst, args.to, overrides, args.force)
    print(*report, sep='\n')


if __name__ == '__main__':
    with ends_in_one_line():
        main()
