"""Toy models for what is done with a config and a checkpoint."""

from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from tests.helpers import (
    tiny_classifier_cfg,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)

NAMES = ['走る', 'falling', 'up']


@pytest.fixture(scope='package')
def toy(tmp_path_factory):
    """Four videos, a masked autoencoder and a classifier, with their checkpoints."""
    init_default_scope('mmaction')
    root = tmp_path_factory.mktemp('inferencer')
    lines = write_videos(root / 'videos', frames=20)
    (root / 'list.txt').write_text('\n'.join(lines))
    masked = tiny_model_cfg()
    model = tiny_classifier_cfg()
    dataset = video_dataset_cfg(root, 'list.txt', num_clips=2, test_mode=True)
    dataset.update(type='TolerantVideoDataset', test_mode=True)
    dataset['pipeline'][0]['type'] = 'PyAVSkipInit'
    dataset['pipeline'][2]['type'] = 'PyAVSkipDecode'
    dataset['pipeline'][-1]['meta_keys'] = ('filename',)
    train = video_dataset_cfg(root, 'list.txt', frame_interval=2)
    common = dict(
        default_scope='mmaction',
        custom_imports=dict(imports=['projects.adamae']),
        visualizer=dict(type='ActionVisualizer', vis_backends=[]),
    )
    configs = dict(
        masked=Config(dict(common, model=masked, train_dataloader=dict(dataset=train))),
        classifier=Config(
            dict(
                common,
                model=model,
                test_dataloader=dict(
                    batch_size=2,
                    num_workers=0,
                    sampler=dict(type='DefaultSampler', shuffle=False),
                    dataset=dataset,
                ),
                test_cfg=dict(type='TestLoop'),
                test_evaluator=dict(type='AccMetric'),
            )
        ),
    )
    torch.manual_seed(0)
    for name, cfg in configs.items():
        cfg.dump(root / f'{name}.py')
        built = MODELS.build(cfg.model)
        built.init_weights()
        # As MMEngine writes them.
        content = dict(
            state_dict=built.state_dict(),
            meta=dict(dataset_meta=dict(classes=NAMES)),
            message_hub=dict(runtime_info=dict(cfg=cfg.pretty_text)),
        )
        torch.save(content, root / f'{name}.pth')
    return SimpleNamespace(
        root=root, videos=[str(root / f'videos/{i}.mp4') for i in range(4)]
    )
