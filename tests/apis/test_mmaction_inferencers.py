"""MMAction2's own inferencers, on a classifier of this project.

Where a defect of theirs is gone, the test of its work-around fails.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmaction.apis.inferencers import ActionRecogInferencer, MMAction2Inferencer
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmaction.visualization import ActionVisualizer
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

from projects.adamae.apis.inferencer import AdaMAEInferencer
from tests.helpers import CONFIGS, TINY, write_videos

LABELS = ['走る', *'bcdefgh']


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """The demo's recipe of a classifier, narrow, with a checkpoint and two videos."""
    init_default_scope('mmaction')
    root = tmp_path_factory.mktemp('mmaction')
    write_videos(root / 'videos', 2, frames=20, size=(32, 32))
    (root / 'labels.txt').write_text('\n'.join(LABELS), encoding='utf-8')
    cfg = Config.fromfile(CONFIGS / 'demo/motion_finetune.py')
    cfg.model.backbone.update(TINY, depth=1)
    cfg.model.cls_head.update(in_channels=16, init_std=1.0)
    # It tests 2 clips and 3 crops: MMAction2's takes one of each.
    cfg.dump(root / 'cfg.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    hub = dict(runtime_info=dict(cfg=cfg.pretty_text))
    torch.save(
        dict(state_dict=model.state_dict(), message_hub=hub), root / 'weights.pth'
    )
    one_view = Config.fromfile(root / 'cfg.py')
    pipeline = one_view.test_dataloader.dataset.pipeline
    pipeline[1].num_clips = 1
    pipeline[3].type = 'CenterCrop'
    videos = [str(root / f'videos/{i}.mp4') for i in range(2)]
    ours = AdaMAEInferencer(one_view, root / 'weights.pth', show_progress=False)
    scores = [p['scores'] for p in ours(videos)['predictions']]
    return SimpleNamespace(
        cfg=str(root / 'cfg.py'),
        weights=str(root / 'weights.pth'),
        labels=str(root / 'labels.txt'),
        videos=videos,
        scores=scores,
    )


@pytest.fixture(autouse=True)
def _visualizers():
    ActionVisualizer._instance_dict.clear()
    Visualizer._instance_dict.clear()


@pytest.mark.parametrize('has_config', [True, False])
def test_action_recognition(toy, has_config):
    inferencer = ActionRecogInferencer(
        toy.cfg if has_config else None, toy.weights, 'cpu'
    )
    found = inferencer(toy.videos, batch_size=2)['predictions']
    for prediction, scores in zip(found, toy.scores, strict=True):
        assert prediction['pred_scores'] == pytest.approx(scores, rel=1e-4)
        assert prediction['pred_labels'] == [scores.argmax()]


def test_arrays(toy):
    inferencer = ActionRecogInferencer(
        toy.cfg, toy.weights, 'cpu', input_format='array'
    )
    array = np.zeros((20, 32, 32, 3), np.uint8)
    (prediction,) = inferencer(array)['predictions']
    assert len(prediction['pred_scores']) == 8


def texts(monkeypatch):
    """Collect what is drawn, and do not draw it."""
    drawn = []
    monkeypatch.setattr(
        ActionVisualizer, 'draw_texts', lambda self, text, **_: drawn.append(text)
    )
    return drawn


def test_the_unified_one_with_names_of_classes(toy, tmp_path, monkeypatch):
    drawn = texts(monkeypatch)
    inferencer = MMAction2Inferencer(toy.cfg, toy.weights, 'cpu', toy.labels)
    results = inferencer(
        toy.videos, batch_size=2, vid_out_dir=str(tmp_path), out_type='img'
    )
    assert len(results['visualization']) == len({p.name for p in tmp_path.iterdir()})
    for i, scores in enumerate(toy.scores):
        prediction = results['predictions'][i]
        assert prediction['rec_scores'][0] == pytest.approx(scores, rel=1e-4)
        label = scores.argmax()
        assert f'Prediction: {label}, ' in drawn[20 * i]
        assert f'({LABELS[label]})' in drawn[20 * i]


def test_mmaction_still_draws_no_predicted_class(monkeypatch):
    drawn = texts(monkeypatch)
    sample = ActionDataSample().set_pred_label(1)
    sample.set_pred_score(torch.tensor([0.25, 0.75]))
    frame = np.zeros((1, 8, 8, 3), np.uint8)
    visualizer = ActionVisualizer()
    ActionVisualizer.add_datasample.__wrapped__(visualizer, 'a', frame, sample)
    visualizer.add_datasample('a', frame, sample)
    assert 'Prediction' not in drawn[0] and 'Prediction: 1, 0.75' in drawn[1]
    assert 'pred_labels' not in sample


def test_mmaction_still_draws_the_first_video_only():
    preds = {'rec': [['a'], ['b']]}
    inferencer = SimpleNamespace(
        mode='rec',
        actionrecog_inferencer=SimpleNamespace(
            visualize=lambda inputs, preds: [*zip(inputs, preds, strict=False)]
        ),
    )
    visualize = MMAction2Inferencer.visualize
    assert visualize.__wrapped__(inferencer, [0, 1], preds) == [(0, 'a')]
    assert visualize(inferencer, [0, 1], preds) == [(0, 'a'), (1, 'b')]
