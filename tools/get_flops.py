"""Count the parameters and multiply-adds of a config's model, for one view."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_arguments import add_cfg_options
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--clip',
        type=int,
        nargs=4,
        metavar=('C', 'T', 'H', 'W'),
        help='size of the view (default: what the backbone is built for)',
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from mmengine.registry import init_default_scope

    from projects.adamae import launch
    from projects.adamae.analysis import flops

    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, ('model',))
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        parts = flops.count(cfg.model, args.clip)
    total = flops.Part(
        'total',
        sum(part.parameters for part in parts),
        sum(part.multiply_adds for part in parts),
    )
    print(f'{"part":<10}{"parameters":>14}{"multiply-adds":>18}')
    for name, parameters, multiply_adds in [*parts, total]:
        print(
            f'{name:<10}{parameters / 1e6:>12.2f} M{multiply_adds / 1e9:>16.2f} G'
            f'{multiply_adds / total.multiply_adds:>7.1%}'
        )


if __name__ == '__main__':
    with ends_in_one_line():
        main()
