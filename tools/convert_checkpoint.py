"""Convert checkpoints of AdaMAE, VideoMAE, transformers and MMAction2."""

from __future__ import annotations

import argparse
import sys

FAMILIES = ('ours', 'released', 'transformers', 'mmaction')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'src', help='a file, or a folder of transformers; its kind is recognised'
    )
    parser.add_argument(
        'dst', help='a file (.pth or .safetensors), or a folder for transformers'
    )
    parser.add_argument(
        '--to', choices=FAMILIES, default='ours', help='default: %(default)s'
    )
    parser.add_argument(
        '--say',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='what SRC does not say about its model: backbone.num_frames=16 '
        'backbone.img_size=224 backbone.num_heads=12 decoder.num_heads=6',
    )
    parser.add_argument('--force', action='store_true', help='overwrite DST')
    return parser.parse_args()


def main() -> None:
    """Convert."""
    args = parse_args()
    # Seconds, and not needed for --help; compat comes with the package.
    from projects.adamae.checkpoints.convert import convert, parse_said

    try:
        say = parse_said(args.say)
        for line in convert(args.src, args.dst, args.to, say, args.force):
            print(line, flush=True)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
