"""Classify videos by the nearest neighbors of their features, nothing trained.

Videos that cannot be read are named and left out; the exit code is 1 then.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_arguments import SPLITS, add_reading_arguments
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    add_reading_arguments(parser)
    parser.add_argument(
        '--split',
        choices=SPLITS[1:],
        help='videos to classify (default: val, or test where there is no val)',
    )
    parser.add_argument(
        '--k', type=int, nargs='+', default=[20], help='neighbors (default: 20)'
    )
    parser.add_argument(
        '--temperature', type=float, default=0.07, help='of votes (default: 0.07)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    import torch
    from mmengine.device import get_device

    from projects.adamae import launch
    from projects.adamae.apis.models import load_model
    from projects.adamae.datasets import from_config
    from projects.adamae.datasets.loading import UnreachableVideoError
    from projects.adamae.evaluation import features
    from projects.adamae.evaluation.knn import check_settings, knn_accuracy
    from projects.adamae.utils import cpu
    from projects.adamae.utils.progress import Progress

    kinds = FileNotFoundError, ValueError, UnreachableVideoError
    with launch.errors_in_one_line(*kinds), cpu.onednn():
        cfg = launch.load_reading_config(args)
        splits = ('train', args.split or from_config.eval_split(cfg))
        if splits[0] == splits[1]:
            raise ValueError(
                'expected a val_dataloader or test_dataloader, with videos to '
                'classify, got none; take the data of another config with --data'
            )
        launch.check_data(cfg, splits, object)
        for split in splits:
            launch.check_labels(cfg, split)
        model = load_model(cfg, args.checkpoint).to(get_device())
        loading = from_config.loader_kwargs(cfg)
        datasets = [
            from_config.build_dataset(cfg, s, model.backbone.clip_size) for s in splits
        ]
        check_settings(args.k, args.temperature, len(datasets[0]))
        sets, errors = [], []
        for split, dataset in zip(splits, datasets, strict=True):
            print(f'{split}: {len(dataset)} videos', flush=True)
            labels = torch.from_numpy(from_config.names_and_labels(dataset)[1])
            bad: dict[int, str] = {}
            batches = features.iter_features(model, dataset, **loading, errors=bad)
            with Progress(f'encoding {split}', len(dataset)) as progress:
                vectors = [*progress.track(batches, loading['batch_size'])]
            errors += bad.values()
            if not vectors:
                raise ValueError(f'{split}: no video can be read: {errors[-1]}')
            vectors = torch.cat(vectors)
            labels = labels[[i for i in range(len(labels)) if i not in bad]]
            sets += [vectors.to(get_device()), labels.to(get_device())]
        results = knn_accuracy(*sets, args.k, args.temperature)
    print('k      top-1   top-5')
    for k, (top1, top5) in results.items():
        print(f'{k:<5}{top1:>7.2%} {top5:>7.2%}')
    print(f'chance {1 / len(sets[1].unique()):.2%}')
    launch.exit_with(errors)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
