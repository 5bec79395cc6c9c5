"""What the curves and the config of a run say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log, prod, sqrt
from statistics import fmean, median

from projects.adamae_command import tool_name

from ..datasets.from_config import clips_per_video
from ..engine.hooks.fault_report import read_report
from ..engine.hooks.finite_check_hook import ADVICE
from ..launch.schedule_report import iter_warnings
from ..utils.config_text import find_setting
from .finding import Examination
from .work_folder import WorkFolder

# How these were measured: docs/doctor.md.
UPDATES = 100  # before a run is judged; of curves, after the rate is at its highest
_LAST = 0.15  # of the updates are averaged
_SLOW = 0.975  # error of normalized targets; predicting 0 gives 1
_NOT_LEARNED, _LONG = 0.985, 500  # error, after so many updates
_UPDATE = 0.08  # of Adam, over the weights' own size
SHRINKING = 2e-3  # of the weights, by weight decay in an update
_RATE = 3.0  # times the recipe's
_WAITING = 0.6  # of a step's time, for data
_RATIO = 0.98  # the largest mask ratio of a published recipe
_HELD_OUT = 30  # videos
_SIGMAS = 3.0  # above chance
_GUESSING = 0.95  # of the loss of guessing

_WARNED = {
    'the token sampler has collapsed': 'the token sampler has collapsed',
    'loss_reconstruction rises': 'the loss rises: the learning rate is too high',
    'are of one color': 'clips are of one color',
}


def examine_faults(run: WorkFolder, found: Examination) -> None:
    """Read what ended a run, and what its hooks warned of."""
    is_told = False
    for path in run.faults:
        try:
            report = read_report(path)
        except ValueError as error:
            found.unknown.append(str(error))
            continue
        if report['iteration'] + 2 < run.iterations:  # it was resumed, and got over it
            continue
        losses = ', '.join(f'{k}={v:.4g}' for k, v in report['losses'].items())
        bad = report['bad_gradients']
        gradients = f'; gradients that are not finite: {bad[0]}' if bad else ''
        gradients += f' and {len(bad) - 1} more' if len(bad) > 1 else ''
        videos = ', '.join(report['paths'][:3])
        found.add(
            'numbers became NaN or infinite',
            f'{path.name}: iteration {report["iteration"]}, {losses}{gradients}; '
            f'videos: {videos}',
            f'{ADVICE}; {tool_name("replay.py")} repeats the step',
        )
        is_told = True
        break
    if not is_told:
        ends = re.findall(r'iteration \d+: .*non-finite.*', run.log)
        if ends:
            found.add('numbers became NaN or infinite', ends[-1], ADVICE)
    for words, cause in _WARNED.items():
        lines = re.findall(rf'WARNING - (iteration \d+: .*{words}.*)', run.log)
        if lines:
            evidence, _, remedy = lines[-1].partition('. ')
            found.add(cause, evidence, remedy or 'look at the videos')


def examine_schedule(run: WorkFolder, found: Examination) -> None:
    """Compare the schedule with the length of the run."""
    steps = 1 if not run.by_epoch else run.steps
    if steps is None or not run.length:
        found.unknown.append(
            'the schedule: the log does not say yet how many updates the run makes'
        )
        return
    for text in iter_warnings(run.cfg, run.length, run.by_epoch, steps):
        evidence, _, remedy = text.partition('; ')
        warm_up = 'warm-up takes' in text
        found.add(
            'warm-up is too long for the run'
            if warm_up
            else 'the schedule does not fit the run',
            evidence,
            remedy,
        )


def examine_loader(run: WorkFolder, found: Examination) -> None:
    """Compare the time that steps wait for data with their whole time."""
    # The first line has the start of the workers.
    times = [
        row['data_time'] / row['time']
        for row in run.train[1:]
        if row.get('time') and 'data_time' in row
    ]
    if len(times) < 2:
        found.unknown.append(f'the loader: {len(run.train)} lines of the log')
        return
    share = found.measured['waiting'] = median(times)
    if share > _WAITING:
        loader = run.cfg.train_dataloader
        workers = loader.get('num_workers', 0)
        found.add(
            'the data loader starves the model',
            f'a step waits {share:.0%} of its time for data (data_time / time, median; '
            f'at most {_WAITING:.0%}), with num_workers={workers}',
            f'--cfg-options train_dataloader.num_workers={max(2 * workers, 2)}, as far '
            f'as there are cores; faster files: {tool_name("data/transcode.py")}, a '
            f'local disk; {tool_name("plan.py")} says what is needed',
        )


def examine_settings(run: WorkFolder, found: Examination) -> None:
    """Look at settings that no curve is needed for."""
    model = run.cfg.model
    sampler = model.get('sampler') or {}
    ratio = sampler.get('mask_ratio')
    if isinstance(ratio, int | float):
        found.measured['mask_ratio'] = ratio
        if ratio > _RATIO:
            usual = find_setting(run.recipe, 'model.sampler.mask_ratio') or 0.95
            found.add(
                'the mask hides nearly everything',
                f'model.sampler.mask_ratio={ratio:g}: {1 - ratio:.1%} of the tokens '
                f'are visible; the largest published ratio is {_RATIO:g}',
                f'--cfg-options model.sampler.mask_ratio={usual:g}',
            )
    loss = model.get('loss') or {}
    if (
        run.recipe is not None
        and loss.get('norm_pix', True) is False
        and find_setting(run.recipe, 'model.loss.norm_pix', True)
    ):
        found.add(
            'targets are not normalized, and the recipe normalizes them',
            'model.loss.norm_pix=False; in the shipped config of the same name it is '
            'True',
            '--cfg-options model.loss.norm_pix=True',
        )
    learns = sampler.get('type') == 'AdaptiveSamplerHead'
    if learns and loss.get('sampling_weight') == 0 and not loss.get('entropy_weight'):
        found.add(
            'the token sampler does not learn',
            'model.loss.sampling_weight=0: nothing tells it which tokens to draw',
            '--cfg-options model.loss.sampling_weight=1e-4',
        )
    for name in ('mean', 'std'):
        key = f'model.data_preprocessor.{name}'
        ours, theirs = find_setting(run.cfg, key), find_setting(run.recipe, key)
        if ours and theirs and [*ours] != [*theirs]:
            found.add(
                f'{name} of the pixels is another than in the recipe',
                f'{key}={[*ours]}; in the shipped config of the same name {[*theirs]}',
                f"--cfg-options '{key}={[*theirs]}'",
            )


def examine_losses(
    run: WorkFolder,
    found: Examination,
    labels: Sequence[int] | None,
    size: float | None,
) -> None:
    """Look for a loss that has not fallen.

    Args:
        run (WorkFolder): its curves.
        found (Examination): is added to.
        labels (Sequence[int], optional): of the validation videos, if they are known.
        size (float, optional): root mean square of the encoder's weights, if that is
            known.
    """
    rows = run.train
    wrapper = run.cfg.get('optim_wrapper') or {}
    passes = wrapper.get('accumulative_counts', 1)
    rates = [float(row.get('base_lr', row.get('lr', 0))) for row in rows]
    peak = run.peak_rate
    begin = next(
        (r['step'] for r, x in zip(rows, rates, strict=True) if x >= 0.999 * peak), 0
    )
    done = (run.iterations - begin) // passes
    if done < UPDATES:
        found.unknown.append(
            f'the loss: {done} updates since the learning rate was at its highest, '
            f'{UPDATES} are needed'
        )
        return
    last = [
        r for r in rows if r['step'] > begin + (1 - _LAST) * (run.iterations - begin)
    ]
    # Adam changes every weight by about the learning rate, whatever the gradients.
    if size and 'Adam' in str((wrapper.get('optimizer') or {}).get('type')):
        found.measured['update'] = peak / size
    if 'loss_reconstruction' in rows[-1]:
        _examine_reconstruction(run, found, last, peak, done)
    elif 'loss_cls' in rows[-1]:
        _examine_classification(run, found, last, peak, labels)


def _add_high_rate(run: WorkFolder, found: Examination, text: str, peak: float) -> bool:
    """Add a finding if updates are large; ``text`` tells that little was learned."""
    update = found.measured.get('update', 0)
    if update <= _UPDATE or run.shrinking > SHRINKING:  # small by the decay
        return False
    better = _recipe_rate(run) or peak * 0.02 / update
    found.add(
        'the learning rate is too high',
        f'{text}; an update changes weights by {update:.1%} of their size (learning '
        f'rate {peak:.3g} over their root mean square; at most {_UPDATE:.0%})'
        + _rates(run, peak)[1],
        f'--cfg-options optim_wrapper.optimizer.lr={better:.3g}',
    )
    return True


def _examine_reconstruction(
    run: WorkFolder, found: Examination, last: list[dict], peak: float, done: int
) -> None:
    loss = run.cfg.model.get('loss') or {}
    if not loss.get('norm_pix', True) or loss.get('criterion', 'mse') != 'mse':
        found.unknown.append(
            'the loss: its scale depends on the videos, as targets are not normalized '
            'or the error is no squared one'
        )
        return
    error = fmean(_values(last, 'loss_reconstruction'))
    found.measured['loss'] = error
    told = (
        f'loss_reconstruction is {error:.3f} at iteration {run.iterations}, and '
        'predicting 0 gives 1'
    )
    if error <= _SLOW or _add_high_rate(run, found, told, peak):
        return
    if any('collapsed' in f.cause for f in found.findings):  # that is why
        return
    if error > _NOT_LEARNED and done >= _LONG:
        cause, rates = _rates(run, peak)
        better = _recipe_rate(run)
        found.add(
            f'nothing is learned, {cause}',
            f'{told}; at most {_NOT_LEARNED} is expected after {_LONG} updates at the '
            f'highest learning rate, there were {done}; it was {peak:.3g}{rates}',
            '--cfg-options optim_wrapper.optimizer.lr='
            + (f'{better:.3g}' if better else f'{peak / 3:.3g}, or {3 * peak:.3g}'),
        )
    elif error > _NOT_LEARNED:
        found.unknown.append(
            f'the loss: {error:.3f} after {done} updates at the highest learning rate; '
            f'this may still be the start, {_LONG} are needed'
        )


def _examine_classification(
    run: WorkFolder,
    found: Examination,
    last: list[dict],
    peak: float,
    labels: Sequence[int] | None,
) -> None:
    classes = (run.cfg.model.get('cls_head') or {}).get('num_classes')
    scores = _values(run.scores, 'acc/top1')
    if not classes or not scores:
        found.unknown.append('the labels: no top-1 accuracy of a validation was logged')
        return
    loss = fmean(_values(last, 'loss_cls'))
    share = found.measured['loss_of_guessing'] = loss / log(classes)
    if not labels or len(labels) < _HELD_OUT:
        found.unknown.append(
            f'the labels: {len(labels or [])} labeled held-out videos could be read, '
            f'{_HELD_OUT} are needed'
        )
        return
    count = len(labels)
    chance = max(Counter(labels).values()) / count
    limit = chance + _SIGMAS * sqrt(chance * (1 - chance) / count)
    found.measured['top1_over_limit'] = scores[-1] / limit
    if scores[-1] > limit:
        return
    told = (
        f'top-1 is {scores[-1]:.1%} on {count} held-out videos; guessing has '
        f'{chance:.1%}, above {limit:.1%} is expected; loss_cls is {share:.0%} of that '
        'of guessing'
    )
    if share < _GUESSING:
        found.add(
            'the labels do not fit the videos',
            f'{told}, so something is learned that does not hold for other videos',
            'compare some lines of train_dataloader.dataset.ann_file and '
            'val_dataloader.dataset.ann_file with their videos',
        )
    elif not _add_high_rate(run, found, told, peak):
        cause, rates = _rates(run, peak)
        found.add(
            f'nothing is learned of the labels: they do not fit the videos, or {cause}',
            f'{told}; learning rate {peak:.3g}{rates}',
            'compare some lines of train_dataloader.dataset.ann_file with their '
            'videos, then look at optim_wrapper.optimizer.lr',
        )


def _rates(run: WorkFolder, peak: float) -> tuple[str, str]:
    """Compare the learning rate with the recipe's: cause and evidence."""
    meant = _recipe_rate(run)
    if not meant:
        return 'the learning rate is too high or too low', ''
    times = peak / meant
    what = 'too high' if times > _RATE else 'too low'
    return (
        f'the learning rate is {what}'
        if not 1 / _RATE <= times <= _RATE
        else 'the learning rate is too high or too low for these data',
        f', {times:.3g} times the {meant:.3g} that the shipped config of the same name '
        'has at this batch',
    )


def _recipe_rate(run: WorkFolder) -> float | None:
    """Give the rate of the recipe, at the run's batch where it follows that."""
    rate = find_setting(run.recipe, 'optim_wrapper.optimizer.lr')
    rule = run.cfg.get('auto_scale_lr') or {}
    if not rate or not rule.get('enable'):
        return rate
    loader = run.cfg.train_dataloader
    passes = (run.cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    world = re.search(r'device: .*, (\d+) process', run.log)
    counts = loader.get('batch_size', 1), passes, int(world[1]) if world else 1
    clips = prod(counts) * clips_per_video(loader.dataset)
    return rate * clips / rule['base_batch_size']


def _values(rows: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [row[name] for row in rows if name in row]
