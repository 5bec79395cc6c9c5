"""Repeat the training step at which a run was stopped, from the report it wrote.

Prints the losses, which gradients, weights and optimizer states become non-finite, and
whether all is bit for bit as it was in the run. Exit code 0: it is, 1: it is not.
"""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

from projects.adamae_arguments import add_cfg_options
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config of the run; MMEngine left a copy in its work folder'
    )
    parser.add_argument('report', help='fault_iter_N_rank_R.pth of its work folder')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.engine.hooks.fault_report import read_report

    with (
        launch.errors_in_one_line(FileNotFoundError, ValueError, RuntimeError),
        TemporaryDirectory() as folder,
    ):
        report = read_report(args.report)
        args.work_dir = folder
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, launch.TRAINING_KEYS)
        launch.disable_amp_on_cpu(cfg)
        cfg.update(load_from=None, resume=False, log_level='WARNING')
        equal = replay(launch.build_runner(cfg, 'train'), report)
    raise SystemExit(0 if equal else 1)


def replay(runner: Any, report: dict[str, Any]) -> bool:
    """Repeat the step of a report, and print what comes of it.

    Args:
        runner (Runner): of the run's config.
        report (dict): as read.

    Returns:
        bool: whether losses and gradients are those of the report, bit for bit.

    Raises:
        RuntimeError: if the weights of the report are of another model.
    """
    from projects.adamae.engine.hooks import CompileHook, OneDNNHook
    from projects.adamae.engine.hooks import fault_report as faults
    from projects.adamae.utils.wrappers import unwrap_model

    model = unwrap_model(runner.model)
    wrapper = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    model.load_state_dict(report['state_dict'])
    wrapper.load_state_dict(report['optimizer'])
    model.train()
    for hook in runner.hooks:  # those that choose how the model computes
        if isinstance(hook, CompileHook | OneDNNHook):
            hook.before_run(runner)
            hook.before_train(runner)
    print(
        f'iteration {report["iteration"]}, rank {report["rank"]} of '
        f'{report["world_size"]} processes, seed {report["seed"]}, batch:'
    )
    print(*(f'  {path}' for path in report['paths']), sep='\n')

    losses, grads = faults.repeat_step(
        model, wrapper, report['batch'], report['random_state']
    )
    known, equal = report['losses'], True
    for name, value in ((k, v.item()) for k, v in losses.items()):
        then = known.get(name, math.nan)
        same = value == then or (math.isnan(value) and math.isnan(then))
        equal &= same
        print(f'{name}: {value!r}' + ('' if same else f', in the run {then!r}'))
    bad = faults.bad_gradients(grads, faults.loss_scale(wrapper))
    print(f'gradients that are not finite or too large to square: {_some(bad)}')
    then, now = report['gradients'], faults.digests(grads)
    others = [name for name in now | then if now.get(name) != then.get(name)]
    equal &= not others
    if others:
        print(f'gradients that differ from those of the run: {_some(others)}')

    for name, param in model.named_parameters():
        param.grad = grads.get(name)
    wrapper.step()
    weights = [k for k, v in model.state_dict().items() if faults.is_bad(v)]
    state = faults.bad_state(wrapper.state_dict())
    print(f'after an update with them, weights that are not finite: {_some(weights)}')
    print(f'after an update with them, optimizer states so: {_some(state)}')
    if report['passes'] > 1 or report['world_size'] > 1:
        print('(in the run, gradients of other batches were added before the update)')
    print(f'bit for bit as in the run: {"yes" if equal else "no"}')
    if not equal:
        import torch

        print(
            f'  the run: torch {report["torch"]} on {report["device"]}; here: torch '
            f'{torch.__version__} on {next(model.parameters()).device}'
        )
    return equal


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - 5} more' if len(names) > 5 else ''
    return (', '.join(names[:5]) or 'none') + more


if __name__ == '__main__':
    with ends_in_one_line():
        main()
