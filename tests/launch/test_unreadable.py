"""Tests and validations of sets with files that cannot be read."""

import os
import re
import signal

import numpy as np
import pytest
import torch
from mmaction.datasets import BaseActionDataset
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import init_default_scope

from projects.adamae import launch
from projects.adamae.datasets.unreadable import UnreadableDataSample, UnreadableVideos
from tests.helpers import ROOT, free_port, run_command, run_tool

LINES = ('0.mp4 0', 'broken.mp4 0', '1.mp4 1', '2.mp4 0', 'text.mp4 1')
DATASET = {'test_dataloader.dataset.type': 'TolerantVideoDataset'}


@pytest.fixture(scope='module')
def checkpoint(toy):
    """A model that always answers 0, in a folder with two bad files."""
    videos = toy.parent / 'videos'
    (videos / 'broken.mp4').write_bytes((videos / '3.mp4').read_bytes()[:3000])
    (videos / 'text.mp4').write_text('no video\n' * 500)
    (toy.parent / 'bad.txt').write_text('\n'.join(LINES))
    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(toy).model)
    torch.nn.init.zeros_(model.cls_head.fc_cls.weight)
    model.cls_head.fc_cls.bias.data = torch.tensor([1.0, 0.0])
    path = toy.parent / 'always_0.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def run_test(toy, checkpoint, tmp_path, *flags, ann_file='bad.txt', **options):
    options = DATASET | {'test_dataloader.dataset.ann_file': ann_file} | options
    dump = ('--dump', tmp_path / 'dump.pkl')
    run_tool(
        'test', toy, checkpoint, f'--work-dir={tmp_path}', *dump, *flags, **options
    )


def test_unreadable_videos_count_as_wrong(toy, checkpoint, tmp_path, capfd):
    options = {'test_dataloader.batch_size': 2, 'test_dataloader.num_workers': 1}
    run_test(toy, checkpoint, tmp_path, '--skip-unreadable', **options)
    output = ''.join(capfd.readouterr())
    # The model would be right about broken.mp4.
    assert 'acc/top1: 0.4000' in output and 'unreadable: 2' in output
    assert 'acc/mean1: 0.3333' in output, '2 of 3, and 0 of 2'
    assert len(re.findall(r'WARNING - \S+broken\.mp4: truncated', output)) == 1
    assert 'test: 2 of 5 videos could not be read and count as wrong' in output
    dump = load(tmp_path / 'dump.pkl')
    assert [int(d['gt_label']) for d in dump] == [0, 0, 1, 0, 1]
    assert [int(d['pred_label']) for d in dump] == [0, -1, 0, 0, -1]
    assert ['unreadable' in d for d in dump] == [False, True, False, False, True]


def test_a_test_fails_after_it_wrote_everything(toy, checkpoint, tmp_path, capfd):
    with pytest.raises(SystemExit) as exit_info:
        run_test(toy, checkpoint, tmp_path)
    assert exit_info.value.code == 2
    out, err = capfd.readouterr()
    assert 'acc/top1: 0.4000' in out and 'acc/mean1: 0.3333' in out
    assert err.splitlines()[-1].startswith('error: 2 of 5 test videos could not be re')
    for name in ('broken.mp4: truncated', 'text.mp4: expected a readable video'):
        assert name in out + err
    assert len(load(tmp_path / 'dump.pkl')) == 5


def test_a_video_that_crashes_a_worker_counts_as_wrong(
    toy, checkpoint, tmp_path, capfd, monkeypatch
):
    prepare = BaseActionDataset.prepare_data

    def crash(self, idx):
        if self.get_data_info(idx)['filename'].endswith('1.mp4'):
            os.kill(os.getpid(), signal.SIGSEGV)
        return prepare(self, idx)

    monkeypatch.setattr(BaseActionDataset, 'prepare_data', crash)
    options = {'test_dataloader.num_workers': 1}
    run_test(toy, checkpoint, tmp_path, '--skip-unreadable', **options)
    output = ''.join(capfd.readouterr())
    assert 'acc/top1: 0.4000' in output and 'unreadable: 3' in output
    assert re.search(r'WARNING - \S+1\.mp4: .* ended with SIGSEGV', output)
    assert len(load(tmp_path / 'dump.pkl')) == 5


def test_nothing_to_fill_a_batch_with(toy, checkpoint, tmp_path, capfd):
    (toy.parent / 'all_bad.txt').write_text('broken.mp4 0\ntext.mp4 1')
    options = dict(ann_file='all_bad.txt', **{'test_dataloader.num_workers': 1})
    with pytest.raises(SystemExit):
        run_test(toy, checkpoint, tmp_path, '--skip-unreadable', **options)
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith('error: ') and 'nor can any other video of 2' in last


def test_missing_videos_are_found_before_the_start(
    toy, checkpoint, tmp_path, capfd, warned
):
    lines = ['0.mp4 0', *(f'gone{i}.mp4 0' for i in range(6)), '1.mp4 1']
    (toy.parent / 'gone.txt').write_text('\n'.join(lines))
    with pytest.raises(SystemExit) as exit_info:
        run_test(toy, checkpoint, tmp_path, ann_file='gone.txt')
    assert exit_info.value.code == 2
    err = capfd.readouterr().err
    assert not list(tmp_path.iterdir()), 'nothing was started'
    assert 'error: test_dataloader.dataset.data_prefix.video: 6 of 8 videos' in err
    assert all(any(f'gone{i}.mp4' in line for line in warned) for i in range(6))
    run_test(toy, checkpoint, tmp_path, '--skip-unreadable', ann_file='gone.txt')
    assert 'unreadable: 6' in ''.join(capfd.readouterr())


def test_a_validation_does_not_end_a_run(toy, checkpoint, tmp_path, capfd, warned):
    (toy.parent / 'val.txt').write_text('\n'.join([*LINES, 'gone.mp4 1']))
    options = {
        'val_dataloader.dataset.type': 'TolerantVideoDataset',
        'val_dataloader.dataset.ann_file': 'val.txt',
        'train_cfg.max_epochs': 2,
        'default_hooks.checkpoint.save_best': 'acc/top1',
    }
    run_tool('train', toy, '--work-dir', tmp_path, **options)
    output = ''.join(capfd.readouterr())
    assert any('1 of 6 videos of' in line for line in warned), 'told at the start'
    assert output.count('val: 3 of 6 videos could not be read and count as wr') == 2
    assert output.count('broken.mp4: truncated') == 1
    assert (tmp_path / 'epoch_2.pth').is_file()


def test_who_goes_on_without_a_video(toy):
    (toy.parent / 'one.txt').write_text('0.mp4 0\ngone.mp4 1')
    dataset = dict(
        data_root=str(toy.parent),
        ann_file='one.txt',
        data_prefix=dict(video='videos'),
        pipeline=[],
    )

    def check(kind, tolerant):
        cfg = dict(val_dataloader=dict(dataset=dict(dataset, type=kind)))
        launch.check_data(Config(cfg), ('val',), tolerant)

    check('TolerantVideoDataset', UnreadableVideos)
    for kind, tolerant in (('VideoDataset', UnreadableVideos), ('VideoDataset', ())):
        with pytest.raises(FileNotFoundError, match=r'1 of 2 .* line 2: \S+gone\.mp4'):
            check(kind, tolerant)
    (toy.parent / 'one.txt').write_text('gone.mp4 1')
    with pytest.raises(FileNotFoundError, match='1 of 1'):
        check('TolerantVideoDataset', UnreadableVideos)
    (toy.parent / 'one.txt').write_text('0 0\n1 0')
    with pytest.raises(FileNotFoundError, match=r'need their ending, such as 0\.mp4'):
        check('TolerantVideoDataset', UnreadableVideos)


def test_a_dataset_that_cannot_go_on_is_said(toy, checkpoint, tmp_path, capfd):
    options = {'test_dataloader.dataset.type': 'VideoDataset'}
    with pytest.raises(SystemExit):
        run_test(toy, checkpoint, tmp_path, '--skip-unreadable', **options)
    message = '--skip-unreadable: expected test_dataloader.dataset.type=Tolerant'
    assert message in capfd.readouterr().err


def test_many_hot_labels():
    sample = UnreadableDataSample(metainfo=dict(unreadable='why'))
    sample.set_gt_label(torch.tensor([1.0, 0, 1])).set_pred_score(torch.rand(3))
    np.testing.assert_array_equal(sample.pred_score, [-np.inf, 0, -np.inf])


@pytest.mark.slow
def test_several_processes_agree(toy, checkpoint, tmp_path):
    """Five videos on two processes: one is read twice, and counts once."""
    options = DATASET | {'test_dataloader.dataset.ann_file': 'bad.txt'}
    result = run_command(
        *(ROOT / 'tools/dist_test.sh', toy, checkpoint, 2, f'--work-dir={tmp_path}'),
        *('--dump', tmp_path / 'dump.pkl', '--cfg-options'),
        *(f'{key}={value}' for key, value in options.items()),
        PORT=free_port(),
    )
    assert result.returncode
    assert 'error: 2 of 5 test videos' in result.stderr
    assert 'acc/top1: 0.4000' in result.stdout and 'unreadable: 2' in result.stdout
    assert len(load(tmp_path / 'dump.pkl')) == 5
