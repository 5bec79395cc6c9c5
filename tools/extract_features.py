"""Write what an encoder makes of videos to a file: a vector each, or its tokens.

Beside OUT, OUT.txt has a line a video, in the order of the features: its name, a tab,
its label (several with tabs between them, -1 if there is none).
"""

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from mmengine.device import get_device
from mmengine.utils import track_iter_progress
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from projects.adamae import features, launch  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of the config of the model')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('out', help='.npy or .safetensors (there: "features")')
    parser.add_argument(
        '--tokens',
        action='store_true',
        help='the token grid, (videos, t, h, w, D), instead of its mean, (videos, D)',
    )
    parser.add_argument(
        '--data',
        metavar='CONFIG',
        help='take the data sets of this config (default: the first one)',
    )
    parser.add_argument(
        '--split',
        choices=features.SPLITS,
        help='the videos (default: val, else test, else train)',
    )
    launch.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    out = Path(args.out)
    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        if out.suffix not in ('.npy', '.safetensors'):
            raise ValueError(f'OUT: expected a .npy or .safetensors file, got {out}')
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, ('model',))
        if args.data:
            args.config = args.data
            features.take_data_of(cfg, launch.load_config(args))
        split = args.split or features.reading_split(cfg)
        launch.check_data(cfg, (split,))
        model = features.load_model(cfg, args.checkpoint).to(get_device())
        dataset = features.build_dataset(cfg, split, model.backbone)
        videos = zip(*features.names_and_labels(dataset), strict=True)
        loading = features.loading(cfg)
        batches = features.iterate(model, dataset, **loading, tokens=args.tokens)
        grid = model.backbone.token_grid if args.tokens else ()
        shape = (len(dataset), *grid, model.backbone.embed_dims)
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = out.with_name(f'.{out.name}.{os.getpid()}')
        if out.suffix == '.npy':
            # Token grids of a large data set do not fit into memory.
            rows = np.lib.format.open_memmap(unfinished, 'w+', np.float32, shape)
        else:
            rows = np.empty(shape, np.float32)
        try:
            done, count = 0, ceil(len(dataset) / loading['batch_size'])
            for batch in track_iter_progress((batches, count)):
                rows[done : done + len(batch)] = batch
                done += len(batch)
            if out.suffix == '.safetensors':
                save_file({'features': rows}, unfinished)
            else:
                rows.flush()
            os.replace(unfinished, out)
        finally:
            unfinished.unlink(missing_ok=True)
    with open(f'{out}.txt', 'w', encoding='utf-8') as file:
        for name, label in videos:
            if label.ndim:
                label = label.nonzero()[0]
            print(name, *np.atleast_1d(label), sep='\t', file=file)
    print(f'{out}: {split}, {" x ".join(map(str, shape))}, names and labels in .txt')


if __name__ == '__main__':
    main()
