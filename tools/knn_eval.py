"""Classify videos by the nearest neighbours of their features, nothing trained."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.utils import track_iter_progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from projects.adamae import cpu, features, launch  # noqa: E402
from projects.adamae.knn import check_settings, knn_accuracy  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    launch.add_reading_arguments(parser)
    parser.add_argument(
        '--split',
        choices=features.SPLITS[1:],
        help='videos to classify (default: val, or test where there is no val)',
    )
    parser.add_argument(
        '--k', type=int, nargs='+', default=[20], help='neighbours (default: 20)'
    )
    parser.add_argument(
        '--temperature', type=float, default=0.07, help='of votes (default: 0.07)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    with launch.errors_in_one_line(FileNotFoundError, ValueError), cpu.onednn():
        cfg = launch.load_reading_config(args)
        splits = ('train', args.split or features.reading_split(cfg))
        if splits[0] == splits[1]:
            raise ValueError(
                'expected a val_dataloader or test_dataloader, with videos to '
                'classify, got none; take the data of another config with --data'
            )
        launch.check_data(cfg, splits)
        model = features.load_model(cfg, args.checkpoint).to(get_device())
        loading = features.loading(cfg)
        datasets = [features.build_dataset(cfg, s, model.backbone) for s in splits]
        check_settings(args.k, args.temperature, len(datasets[0]))
        sets = []
        for split, dataset in zip(splits, datasets, strict=True):
            print(f'{split}: {len(dataset)} videos', flush=True)
            labels = torch.from_numpy(features.names_and_labels(dataset)[1])
            batches = features.iterate(model, dataset, **loading)
            count = ceil(len(dataset) / loading['batch_size'])
            vectors = torch.cat([*track_iter_progress((batches, count))])
            sets += [vectors.to(get_device()), labels.to(get_device())]
        results = knn_accuracy(*sets, args.k, args.temperature)
    print('k      top-1   top-5')
    for k, (top1, top5) in results.items():
        print(f'{k:<5}{top1:>7.2%} {top5:>7.2%}')
    print(f'chance {1 / len(sets[1].unique()):.2%}')


if __name__ == '__main__':
    main()
