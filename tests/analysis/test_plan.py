"""Plans from made-up measurements, whose answers are known."""

from dataclasses import replace

import pytest

from projects.adamae.analysis.plan import (
    Measurement,
    Plan,
    Run,
    count_events,
    duration,
    iteration_seconds,
    largest_batch,
    line_through,
    page,
    step_seconds,
)

RUN = Run(videos=1000, clips=1, batch=10, steps=100, length=20, workers=4)
# A GPU that takes 0.1 s + 0.01 s a video; 4 of 16 cores load 10 videos in 0.1 s.
GPU = Measurement(
    step=0.2,
    steps_measured=20,
    small_batch=5,
    small_step=0.15,
    busy_cores=1.0,
    iteration=0.2,
    start=1.0,
    setup=5.0,
    startup=3.0,
    decode=0.03,
    transform=0.01,
    loading_work=0.04,
    validation=10.0,
    pause=2.0,
    write=0.0,
    cores=16,
    is_cpu=False,
    memory=2 * 10**9,
    memory_per_video=1e8,
    memory_per_worker=0,
    total_memory=10 * 10**9,
)
CPU = replace(GPU, is_cpu=True, cores=2, busy_cores=2.0)


def plan(run=None, machine=GPU, **measured):
    return Plan(replace(RUN, **(run or {})), replace(machine, **measured))


@pytest.mark.parametrize(
    ('args', 'expected'),
    [
        ((10, 3), 4),
        ((10, 5), 2),
        ((10, 20), 1),
        ((10, 20, False), 0),
        ((10, -1), 1),
        ((10, 0, False), 0),
        ((10, 3, True, 4), 3),  # 6, 9, 10
        ((10, 3, True, 11), 0),
        ((10, 1, True, 0), 10),
    ],
)
def test_events_of_a_run(args, expected):
    assert count_events(*args) == expected


def test_a_step_is_a_line():
    assert step_seconds(GPU, 10, 20) == pytest.approx(0.3)
    assert step_seconds(GPU, 10, 0) == pytest.approx(0.1)
    # Noise: the smaller batch took longer, or nothing at all.
    assert step_seconds(replace(GPU, small_step=0.3), 10, 20) == pytest.approx(0.2)
    assert step_seconds(replace(GPU, small_step=0.0), 10, 0) == pytest.approx(0)


@pytest.mark.parametrize(
    ('machine', 'workers', 'expected'),
    [
        (GPU, 0, 0.6),  # one after the other
        (GPU, 1, 0.4),  # the loader
        (GPU, 4, 0.2),  # the step
        (CPU, 1, 0.4),
        (CPU, 2, 0.4),  # 0.4 + 0.4 core seconds on two cores
        (CPU, 9, 0.4),
    ],
)
def test_what_waits_for_what(machine, workers, expected):
    assert iteration_seconds(machine, 0.2, 0.4, workers) == pytest.approx(expected)


def test_time_of_a_run():
    times = plan(dict(validations=4, checkpoints=3))
    one = times.time()
    assert one.epoch == pytest.approx(1 + 100 * 0.2)
    assert one.total == pytest.approx(5 + 20 * 21 + 4 * 10 + 3 * 2)
    two = times.time(2)
    assert (two.batch, two.steps) == (10, 50)
    assert two.total == pytest.approx(5 + 20 * 11 + 4 * 5 + 3 * 2)
    same = times.time(2, keep_total=True)
    assert (same.batch, same.steps) == (5, 100)
    assert same.epoch == pytest.approx(1 + 100 * 0.15)
    assert times.time(3, keep_total=True) is None
    assert times.time(101) is None  # fewer videos than a batch of all
    assert plan(dict(drop_last=False)).time(101).steps == 1


def test_time_of_checkpoints():
    run, times = dict(checkpoints=3), dict(write=4.0)
    none = plan(run).time().total
    # The last one is waited for, unless a validation takes as long.
    assert plan(run, **times).time().total == pytest.approx(none + 4)
    run['validations'] = 2
    assert plan(run, **times).time().total == pytest.approx(none + 2 * 10)
    run['best_checkpoints'] = 2
    assert plan(run, **times).time().total == pytest.approx(none + 2 * (10 + 2 + 4))


def test_time_of_iterations():
    times = plan(dict(length=250, by_epoch=False, passes=4))
    assert times.run.total_steps == 250
    assert times.time().total == pytest.approx(5 + 2.5 * 21)
    assert times.time(2).total == pytest.approx(5 + 250 * 0.2 + 5 * 1)


def test_what_is_measured_together_scales_what_was_measured_apart():
    # A third slower than the parts tell: so is a smaller batch.
    half = plan(iteration=0.3).time(2, keep_total=True)
    assert half.epoch == pytest.approx(1 + 100 * 0.225)


@pytest.mark.parametrize(
    ('run', 'machine', 'measured', 'workers', 'crops', 'words'),
    [
        ({}, GPU, dict(small_step=0.12), 2, 1, 'how it should be'),
        (dict(workers=0), GPU, dict(iteration=0.6), 2, 1, 'num_workers=2'),
        # 16 cores take 0.5 s for the videos of a step; with 3 crops a decode a third.
        (
            dict(workers=16),
            GPU,
            dict(decode=0.79, iteration=0.5),
            16,
            3,
            'PerClip(repeats=3)',
        ),
        (
            dict(workers=16),
            GPU,
            dict(decode=0.0, transform=0.8, iteration=0.5),
            16,
            1,
            'transcode',
        ),
        ({}, GPU, dict(small_step=0.19), 2, 1, 'whatever its batch'),
        (
            dict(workers=2),
            CPU,
            dict(decode=0.001, transform=0.001, loading_work=0.002),
            0,
            1,
            'step: 95% of the work of these 2 cores, loading 5%',
        ),
        (dict(workers=2), CPU, dict(loading_work=0.03), 1, 6, 'step: 57%'),
        (
            dict(workers=2),
            CPU,
            dict(decode=0.3, loading_work=0.31, iteration=1.75),
            2,
            8,
            'PerClip',
        ),
    ],
)
def test_what_limits_a_run(run, machine, measured, workers, crops, words):
    made = plan(run, machine, **measured)
    assert made.best_workers() == workers
    assert made.crops_per_decode() == crops
    assert words in ' '.join(made.bottleneck())


def test_the_largest_batch_leaves_a_margin():
    assert largest_batch(plan().memory_of, 10e9) == 80  # 1 GB + 0.1 GB a video
    assert largest_batch(plan().memory_of, 0.9e9) == 0
    points = [(1, 1.0), (2, 2.0), (8, 20.0)]
    line = line_through(points)
    assert [line(x) for x in (1, 2, 5, 8, 10)] == [1, 2, 11, 20, 26]
    assert largest_batch(line, 20 / 0.9) == 8
    assert largest_batch(line_through(points[:2]), 20 / 0.9) == 20


def test_durations_for_people():
    assert duration(12.34) == '12.3 s'
    assert duration(250) == '4 min 10 s'
    assert duration(3 * 3600 + 119) == '3 h 1 min'
    assert duration(50 * 3600) == '2 d 2 h'


def test_a_page():
    text = page(plan(dict(length=24)), 'x.py', 'a GPU', price=3.6)
    assert '1000 videos in batches of 10: 100 steps an epoch' in text
    assert '0.2 s with loading, 50 clips a second; alone 0.1 s and 0.01 s a' in text
    assert '20 steps measured' in text and 'rough' not in text
    assert 'on one core: 25 clips a second' in text
    assert '3 s before the run, 5 s at its start, a checkpoint 2 s' in text
    assert '10: 2 GB, 20: 3 GB, 40: 5 GB, 80: 9 GB; largest' in text
    rows = text.splitlines()
    one = next(row for row in rows if row.split()[:3] == ['1', '1', 'x'])
    assert '8 min 29 s' in one and one.endswith(' 0.51')  # 509 s
    assert '10 videos are not 4 equal parts' in text
    assert 'is not measured' in rows[-1]
    text = page(
        plan(dict(by_epoch=False), CPU, memory_per_worker=10**9),
        'x.py',
        '2 cores',
        gpu_memory=lambda batch: 1e9 * batch,
    )
    assert 'each worker 1 GB more' in text and '4000 in' not in text
    assert '13 in 16 GB' in text and 'as many times the videos' in text


def test_a_page_of_few_steps():
    text = page(
        plan(steps_measured=2, small_batch=0, small_step=0.0, iteration=0.4), 'x', 'y'
    )
    assert '0.4 s with loading, 0.2 s without: 25 clips' in text
    assert 'a second; 2 steps measured: rough' in text
    assert 'a video' not in text.split('loading ')[0].split('step ')[-1]
    assert '(predicted from one batch)' in text
