"""Write what an encoder makes of videos to a file: one vector each, or its tokens.

OUT.txt has one line per video, in the order of the features: its name, a tab,
its label (several with tabs between them, -1 if there is none). Videos that cannot be
read are named, and are in neither; the exit code is 1 then.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import SPLITS, add_reading_arguments
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_reading_arguments(parser)
    parser.add_argument('out', help='.npy or .safetensors (there: "features")')
    parser.add_argument(
        '--tokens',
        action='store_true',
        help='the token grid, (videos, t, h, w, D), instead of its mean, (videos, D)',
    )
    parser.add_argument(
        '--split',
        choices=SPLITS,
        help='the videos (default: val, else test, else train)',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from mmengine.device import get_device

    from projects.adamae import launch
    from projects.adamae.apis.models import load_model
    from projects.adamae.datasets import from_config
    from projects.adamae.datasets.loading import UnreachableVideoError
    from projects.adamae.evaluation import features
    from projects.adamae.utils import cpu
    from projects.adamae.utils.progress import Progress

    out = Path(args.out)
    kinds = FileNotFoundError, ValueError, UnreachableVideoError
    with launch.errors_in_one_line(*kinds), cpu.onednn():
        if out.suffix not in ('.npy', '.safetensors'):
            raise ValueError(f'OUT: expected a .npy or .safetensors file, got {out}')
        launch.check_folder('OUT', str(out.parent))
        cfg = launch.load_reading_config(args)
        split = args.split or from_config.eval_split(cfg)
        launch.check_data(cfg, (split,), object)
        model = load_model(cfg, args.checkpoint).to(get_device())
        dataset = from_config.build_dataset(cfg, split, model.backbone.clip_size)
        loading = from_config.loader_kwargs(cfg)
        errors: dict[int, str] = {}
        batches = features.iter_features(
            model, dataset, **loading, tokens=args.tokens, errors=errors
        )
        grid = model.backbone.token_grid if args.tokens else ()
        shape = (len(dataset), *grid, model.backbone.embed_dims)
        with Progress(f'encoding {split}', len(dataset)) as progress:
            tracked = progress.track(batches, loading['batch_size'])
            done = features.write(out, tracked, shape)
    names, labels = from_config.names_and_labels(dataset)
    kept = [i for i in range(len(dataset)) if i not in errors]
    names_file = Path(f'{out}.txt')
    features.write_names(names_file, [names[i] for i in kept], labels[kept])
    shape = (done, *shape[1:])
    print(f'{out}: {split}, {" x ".join(map(str, shape))}, names and labels in .txt')
    launch.exit_with(errors.values())


if __name__ == '__main__':
    with ends_in_one_line():
        main()
