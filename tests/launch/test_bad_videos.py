"""Training runs over lists with bad videos."""

import os

import pytest
from mmaction.datasets import VideoDataset
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.datasets.bad_videos import read_bad_videos
from projects.adamae.engine.hooks import UnreadableVideosHook
from projects.adamae.evaluation import MaskingMetric
from projects.adamae.launch import safeguards
from tests.helpers import ROOT, free_port, run_command, run_tool, write_videos

SHARE = 'default_hooks.unreadable_videos.max_share'


@pytest.fixture
def root(tmp_path):
    """Four good videos, a damaged one and a gone one, in a list."""
    lines = write_videos(tmp_path / 'videos', frames=8)
    (tmp_path / 'videos/text.mp4').write_text('no video\n' * 500)
    (tmp_path / 'list.txt').write_text('\n'.join([*lines, 'text.mp4 0', 'gone.mp4 0']))
    return tmp_path


def train(toy, root, *flags, code=0, **options):
    options = {
        'train_dataloader.dataset.data_root': root,
        'train_dataloader.dataset.pipeline.0.type': 'PyAVSkipInit',
        'train_dataloader.dataset.pipeline.2.type': 'PyAVSkipDecode',
        'train_cfg.max_epochs': 2,
        SHARE: 0.5,
        **options,
    }
    flags = ('--work-dir', root / 'work', '--no-validate', *flags)
    if not code:
        return run_tool('train', toy, *flags, **options)
    with pytest.raises(SystemExit) as exit_info:
        run_tool('train', toy, *flags, **options)
    assert exit_info.value.code == code


def test_each_is_named_once_and_remembered(toy, root, capfd, warned):
    workers = {
        'train_dataloader.num_workers': 2,
        'train_dataloader.persistent_workers': True,
    }
    train(toy, root, **workers)
    output = ''.join(capfd.readouterr())
    for name in ('text.mp4', 'gone.mp4'):
        assert output.count(f'{name}: expected a readable video') == 1
    path = root / 'work/bad_videos.txt'
    assert {os.path.basename(v.name) for v in read_bad_videos(path)} == {
        'text.mp4',
        'gone.mp4',
    }
    before = path.read_text()
    assert 'VideoDataset as TolerantVideoDataset' in ' '.join(warned)

    # The next run knows them; one of them has been repaired, another one not.
    (root / 'videos/gone.mp4').symlink_to(root / 'videos/0.mp4')
    train(toy, root, '--resume', **{**workers, 'train_cfg.max_epochs': 3})
    output = ''.join(capfd.readouterr())
    assert 'bad_videos.txt: 1 of 6 training videos are bad' in output
    assert 'another video takes its place' not in output
    (line,) = path.read_text().splitlines()
    assert 'text.mp4\texpected a readable video, got: ' in line and line in before


def test_too_many_end_the_run(toy, root, capfd):
    (root / 'videos/gone.mp4').write_text('no video either')
    train(toy, root, code=2, **{SHARE: 0.2})
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith(
        'error: 2 of 6 training videos cannot be read, more than the 1 allowed: '
    )
    assert last.count('.mp4') == 2 and f'{SHARE}=SHARE; then resume' in last
    assert len(read_bad_videos(root / 'work/bad_videos.txt')) == 2
    assert len([*(root / 'work').glob('iter_*.pth')]) == 1
    # Again at once, until there is more that may be bad.
    train(toy, root, '--resume', code=2, **{SHARE: 0.2})
    assert 'takes its place' not in ''.join(capfd.readouterr())
    train(toy, root, '--resume', **{SHARE: 0.4})


def test_too_many_missing_ones_end_it_before_the_start(toy, root, capfd, warned):
    gone = [f'gone{i}.mp4 0' for i in range(97)]
    (root / 'list.txt').write_text('\n'.join([f'{i}.mp4 0' for i in range(3)] + gone))
    options = {f'{SHARE}': None}
    train(toy, root, code=2, **options)
    last = capfd.readouterr().err.splitlines()[-1]
    assert '97 of 100 videos not found, more than the 10 allowed: ' in last
    assert last.count('gone') == 3 and [*(root / 'work').iterdir()] == [
        root / 'work/run.lock'
    ]


def test_a_lost_folder_ends_it_in_one_line(toy, root, capfd, monkeypatch):
    def lose(self, *_, **__):
        for path in (root / 'videos').iterdir():
            path.unlink()

    monkeypatch.setattr(UnreadableVideosHook, 'before_train_epoch', lose)
    train(toy, root, code=2, **{'train_dataloader.num_workers': 1})
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith('error: data_prefix.video: expected the videos below')
    assert not (root / 'work/bad_videos.txt').exists()


def test_a_list_that_cannot_be_written_is_said(toy, root, capfd):
    (root / 'work/bad_videos.txt').mkdir(parents=True)
    train(toy, root)
    assert 'bad_videos.txt: cannot be kept' in ''.join(capfd.readouterr())


def test_one_policy_for_all_datasets(warned):
    class Own(VideoDataset):
        pass

    def datasets(*kinds):
        parts = [dict(type=kind) for kind in kinds]
        return dict(dataset=dict(type='ConcatDataset', datasets=parts))

    cfg = Config(
        dict(
            train_dataloader=datasets('VideoDataset', 'RepeatAugDataset', Own),
            val_dataloader=datasets('RawframeDataset', 'VideoFolderDataset'),
            test_dataloader=datasets('VideoDataset'),
        )
    )
    safeguards._tolerate_unreadable(cfg)
    kinds = [
        part['type']
        for split in ('train', 'val', 'test')
        for part in cfg[f'{split}_dataloader'].dataset.datasets
    ]
    assert kinds == [
        'TolerantVideoDataset',
        'TolerantRepeatAugDataset',
        Own,
        'TolerantRawframeDataset',
        'VideoFolderDataset',
        'VideoDataset',
    ]
    assert [line.partition(', which')[0].split(': ')[1] for line in warned] == [
        'reading VideoDataset as TolerantVideoDataset',
        'reading RepeatAugDataset as TolerantRepeatAugDataset',
        'Own may end the run at the first video that cannot be read; put '
        'UnreadableVideos in front of its base class (docs/data.md, "Unreadable '
        'videos")',
        'reading RawframeDataset as TolerantRawframeDataset',
    ]


def test_the_hook_is_there_once():
    for where in (
        dict(custom_hooks=[dict(type='UnreadableVideosHook', max_share=0.5)]),
        dict(default_hooks=dict(unreadable_videos=dict(max_share=0.5))),
        dict(default_hooks=dict(x=dict(type=UnreadableVideosHook, max_share=0.5))),
    ):
        cfg = Config(where)
        for _ in range(2):
            assert safeguards.unreadable_videos_hook(cfg)['max_share'] == 0.5
        hooks = [*cfg.get('custom_hooks', []), *cfg.get('default_hooks', {}).values()]
        assert len(hooks) == 1
    with pytest.raises(ValueError, match='share from 0 to 1, got 5'):
        UnreadableVideosHook(max_share=5)


@pytest.mark.parametrize(
    ('metrics', 'text'),
    [
        ([MaskingMetric(2)], 'and are left out of MaskingMetric'),
        ([object()], 'and count as wrong'),
        (
            [MaskingMetric(2), object()],
            'and count as wrong and are left out of MaskingMetric',
        ),
    ],
)
def test_what_becomes_of_unreadable_videos_of_a_validation(metrics, text, monkeypatch):
    class Thing:
        def __init__(self, **kwargs):
            self.__dict__.update(kwargs)

    lines = []
    runner = Thing(
        val_evaluator=Thing(metrics=metrics),
        val_dataloader=Thing(dataset=[0] * 4),
        message_hub=Thing(log_scalars={}, update_scalar=lambda *_: None),
        logger=Thing(warning=lines.append, info=lines.append),
    )
    hook = UnreadableVideosHook()
    hook.errors = ['a.mp4: bad', '', '', '']
    hook.after_val_epoch(runner)
    assert lines == ['a.mp4: bad', f'val: 1 of 4 videos could not be read {text}']


def test_a_folder_with_too_many_ends_before_the_start(tmp_path, monkeypatch):
    from projects.adamae import VideoFolderDataset

    write_videos(tmp_path, count=1, frames=2)
    for i in range(20):
        (tmp_path / f'bad{i}.mp4').write_text('no video')
    folder = VideoFolderDataset(dict(video=str(tmp_path)), [])

    class Thing:
        pass

    runner = Thing()
    runner.cfg = Config({})
    runner.train_loop = Thing()
    runner.train_loop.dataloader = Thing()
    runner.train_loop.dataloader.dataset = folder
    with pytest.raises(ValueError, match='20 of 21 videos cannot be read, more than'):
        launch.report_videos(runner)


@pytest.mark.slow
def test_two_processes_name_each_once(toy, root):
    options = {
        'train_dataloader.dataset.data_root': root,
        'train_cfg.max_epochs': 4,
        'train_dataloader.num_workers': 1,
        SHARE: 0.5,
    }
    result = run_command(
        *(ROOT / 'tools/dist_train.sh', toy, 2, f'--work-dir={root / "work"}'),
        *('--no-validate', '--cfg-options'),
        *(f'{key}={value}' for key, value in options.items()),
        PORT=free_port(),
    )
    output = result.stdout + result.stderr
    assert not result.returncode, output
    for name in ('text.mp4', 'gone.mp4'):
        assert output.count(f'{name}: expected a readable video') == 1
    assert len(read_bad_videos(root / 'work/bad_videos.txt')) == 2
