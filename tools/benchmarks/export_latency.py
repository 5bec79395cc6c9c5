"""Time files of tools/export.py beside the model they were made of, in turn.

Weights are random: time does not depend on them. Each round runs the model and both
files once, on the CPU; ratios are those of a round.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from worker_processes import ratio, summarize, timed

from projects.adamae import launch
from projects.adamae.apis import export
from projects.adamae_arguments import COUNT, add_cfg_options


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config')
    parser.add_argument(
        '--batch-size', type=COUNT, default=1, help='clips (default: %(default)s)'
    )
    parser.add_argument(
        '--rounds', type=COUNT, default=9, help='that are measured (default: 9)'
    )
    parser.add_argument(
        '--threads', type=COUNT, help="of each (default: PyTorch's choice)"
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, ('model',))
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        module = export.ClipModel(MODELS.build(cfg.model))
        program = export.to_program(module)
        content = export.to_onnx(program, module.output).SerializeToString()
        runs = {
            'eager': module,
            'torch.export': export.run_program(program),
            'ONNX': export.run_onnx(content),
        }
    clips = torch.randn(args.batch_size, *module.clip_shape)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1 + args.rounds):
        for name, run in runs.items():
            taken = timed(lambda run=run: run(clips), clips.device)
            if number:  # the first is a warm-up
                seconds[name].append(taken)
    print(
        f'{args.config}: {args.batch_size} clips, {torch.get_num_threads()} threads, '
        f'{args.rounds} rounds, PyTorch {torch.__version__}'
    )
    print(f'{"":<14}{"ms: median (range)":<36}of eager, round by round')
    for name, values in seconds.items():
        spread = summarize([1e3 * value for value in values])
        print(f'{name:<14}{spread!s:<36}{ratio(values, seconds["eager"])} x')


if __name__ == '__main__':
    main()
