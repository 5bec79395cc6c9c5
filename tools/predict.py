"""Say which classes videos are of, by a fine-tuned or probed model.

Videos are read as in the test of the config: its frames, clips and crops. Those that
cannot be read are named at the end, the others are done; the exit code is 1 then.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import COUNT, add_cfg_options
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config of the classifier')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        'videos',
        nargs='+',
        metavar='VIDEO',
        help='video files, folders of them, or .txt lists with a path in each line',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='write them to this .csv or .json file, too; FILE.partial until it is '
        'complete',
    )
    parser.add_argument(
        '--top', type=COUNT, default=5, help='classes for each video (default: 5)'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.apis.inferencer import AdaMAEInferencer
    from projects.adamae.apis.predict import find_files
    from projects.adamae.datasets.loading import UnreachableVideoError
    from projects.adamae.evaluation.prediction_files import check_name, open_predictions
    from projects.adamae.evaluation.ranking import Ranked, name_of
    from projects.adamae.utils import cpu
    from projects.adamae.utils.progress import Progress
    from projects.adamae.utils.text import printable

    errors = []
    kinds = FileNotFoundError, ValueError, UnreachableVideoError
    kept = f'{args.out}.partial has what is done' if args.out else ''
    with launch.errors_in_one_line(*kinds, interrupted=kept), cpu.onednn():
        cfg = launch.load_config(args)
        launch.check_predicting(cfg, args.config)
        if args.out:
            check_name(args.out)
            launch.check_folder('--out', str(Path(args.out).parent))
        inferencer = AdaMAEInferencer(cfg, args.checkpoint)
        classes = inferencer.classes
        top_k = min(args.top, inferencer.model.cls_head.num_classes)
        loader = cfg.test_dataloader
        files = find_files(args.videos)
        videos = inferencer.iterate(
            files,
            batch_size=loader.get('batch_size', 1),
            num_workers=loader.get('num_workers', 0),
            top=top_k,
        )
        with (
            open_predictions(args.out, top_k, classes) as write,
            Progress('predicting', len(files)) as progress,
        ):
            for video in progress.track(videos):
                error = video['error'] or ''
                top = [
                    Ranked(found['label'], found['probability'])
                    for found in video.get('top', ())
                ]
                write(video['path'], top, error)
                if error:
                    errors.append(printable(error))
                    continue
                likely = ', '.join(
                    f'{name_of(label, classes)} {probability:.1%}'
                    for label, probability in top
                )
                progress.print(printable(f'{video["path"]}: {likely}'))
    launch.exit_with(errors)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
