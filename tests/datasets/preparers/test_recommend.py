"""The settings for data sets of all kinds: tables of what they should be."""

import pytest

from projects.adamae.datasets.preparers.recommend import recommend
from projects.adamae.utils.batches import FEW_STEPS, LARGE_SHARE, largest_batch_size


def facts(videos=5000, fps=25, seconds=10, side=240, classes=()):
    """A ``summary.json`` of videos that are all alike."""

    def spread(value):
        return dict.fromkeys(('min', 'p5', 'median', 'p95', 'max'), value)

    return dict(
        num_classes=len(classes),
        classes=[*classes],
        splits=dict(train=dict(videos=videos)),
        fps=spread(fps),
        seconds=spread(seconds),
        frames=spread(round(fps * seconds)),
        short_side=spread(side),
    )


def why(plan, setting):
    (reason,) = (r for r in plan.reasons if r.setting == setting)
    return reason.why


@pytest.mark.parametrize(
    ('fps', 'seconds', 'num_frames', 'interval'),
    [
        (30, 10, 16, 4),  # Kinetics-400
        (12, 4, 16, 2),  # Something-Something v2
        (25, 10, 16, 4),
        (24, 10, 16, 4),
        (29.97, 10, 16, 4),
        (60, 10, 16, 9),
        (10, 10, 16, 1),
        (5, 10, 16, 1),
        (25, 1, 16, 1),  # clips of a second
        (60, 1, 16, 2),
        (10, 3, 16, 1),  # a GIF of 30 frames
        (10, 1, 8, 1),
        (10, 0.5, 4, 1),
        (25, 0.04, 4, 1),  # one frame
        (0, 10, 4, 1),  # a rate that is not known
    ],
)
def test_clips_last_as_long_as_published_or_two_thirds_of_the_video(
    fps, seconds, num_frames, interval
):
    plan = recommend(facts(fps=fps, seconds=seconds))
    assert (plan.num_frames, plan.frame_interval) == (num_frames, interval)
    assert plan.frames_per_second is None
    assert plan.backbone.get('num_frames', 16) == num_frames
    frames = round(fps * seconds)
    assert interval == 1 or num_frames * interval <= frames * 2 / 3
    assert f'{fps:g} frames a second' in why(plan, 'stride')


def test_mixed_rates_are_sampled_by_time():
    rates = dict(min=10, p5=10, median=25, p95=60, max=60)
    plan = recommend(facts() | dict(fps=rates))
    assert plan.frame_interval is None
    assert plan.frames_per_second == pytest.approx(1 / 0.15, abs=0.05)
    assert '10 to 60 frames a second' in why(plan, 'stride')
    short = recommend(facts(seconds=1.2) | dict(fps=rates))
    assert 16 / short.frames_per_second <= 1.2 * 0.7
    usual = dict(min=24, p5=24, median=25, p95=30, max=120)
    assert recommend(facts() | dict(fps=usual)).frame_interval == 4


@pytest.mark.parametrize(
    ('side', 'image', 'patch', 'ratio'),
    [
        (1080, 224, 16, 0.95),
        (240, 224, 16, 0.95),
        (160, 224, 16, 0.95),
        (120, 112, 8, 0.95),
        (64, 64, 8, 0.9),
        (32, 32, 4, 0.9),
    ],
)
def test_resolution_follows_the_short_side(side, image, patch, ratio):
    """Of portraits it is the width, which is all that counts."""
    plan = recommend(facts(side=side))
    sizes = plan.backbone.get('img_size', 224), plan.backbone.get('patch_size', 16)
    assert (*sizes, plan.mask_ratio) == (image, patch, ratio)
    tokens = 8 * (image // patch) ** 2
    assert tokens * (1 - ratio) > 32


@pytest.mark.parametrize(
    ('videos', 'size', 'batch', 'epochs'),
    [
        (1, 'vits', 1, 800),
        (3, 'vits', 1, 800),
        (50, 'vits', 5, 800),
        (55, 'vits', 5, 800),
        (500, 'vits', 32, 3200),
        (5000, 'vitb', 32, 3200),
        (50_000, 'vitb', 32, 1600),
        (200_000, 'vitb', 32, 800),
    ],
)
def test_model_and_recipe_follow_the_number_of_videos(videos, size, batch, epochs):
    plan = recommend(facts(videos, classes=('a', 'b')))
    assert (plan.size, plan.batch_size, plan.epochs) == (size, batch, epochs)


@pytest.mark.parametrize(('fps', 'seconds'), [(10, 1), (25, 10), (60, 1)])
def test_no_run_is_absurd(fps, seconds):
    for videos in [*range(1, 400), 500, 2999, 3000, 49_999, 200_000, 1_000_000]:
        plan = recommend(facts(videos, fps, seconds, classes=('a', 'b')))
        runs = [
            (plan.batch_size, plan.epochs, plan.warmup_epochs),
            (plan.finetune_batch_size, plan.finetune_epochs, 5),
            (plan.probe_batch_size, 90, 10),
        ]
        for batch, epochs, warmup in runs:
            steps = videos // batch
            assert steps >= max(min(FEW_STEPS, videos // 2), 1)
            assert videos < 10 or videos - steps * batch <= LARGE_SHARE * videos
            assert 0 < warmup <= epochs / 8
        assert 1 <= plan.checkpoint_interval <= plan.epochs // 20
        # A crash costs a few thousand steps at most, or a twentieth of the run.
        assert (plan.checkpoint_interval - 1) * (videos // plan.batch_size) < 5000
        assert all(reason.why.isprintable() for reason in plan.reasons)


@pytest.mark.parametrize(
    ('names', 'ratio'),
    [
        (['Pushing from left to right', 'Poking'], 0),
        (['TurnLeft', 'Wave'], 0),
        (['swipe_RIGHT'], 0),
        (['rotate-counterclockwise'], 0),
        (['Leftovers', 'upright', 'bright light'], 0.5),
        ([], 0.5),
    ],
)
def test_no_flips_where_classes_have_a_direction(names, ratio):
    assert recommend(facts(classes=names)).flip_ratio == ratio


def test_what_an_accuracy_of_few_videos_is_worth():
    splits = {'train': {'videos': 50}, 'val': {'videos': 5}, 'test': {'videos': 16}}
    labeled = facts(classes=('a', 'b')) | dict(splits=splits)
    assert 'by 12 points' in why(recommend(labeled), 'accuracy')
    del splits['test']
    assert 'one is 20 points' in why(recommend(labeled), 'accuracy')
    assert 'must not choose one' in why(recommend(labeled), 'checkpoint')
    unlabeled = [reason.setting for reason in recommend(facts()).reasons]
    assert 'accuracy' not in unlabeled


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match=r'splits\.train: expected videos'):
        recommend(facts(0))


def test_largest_batch_size_counts_processes():
    assert largest_batch_size(1600, 32, 4) == 32
    assert largest_batch_size(1600, 32, 8) == 20
