"""Runs that are logged to TensorBoard, Weights & Biases and MLflow, offline."""

from importlib.util import find_spec
from unittest.mock import Mock

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.visualization import MLflowVisBackend
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers import (
    CONFIGS,
    run_tool,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)


def test_images_of_mlflow_get_a_suffix_and_their_step(tmp_path):
    """Without it, MMEngine hands on a name that MLflow rejects."""
    image = np.zeros((8, 8, 3), np.uint8)
    backend = MLflowVisBackend(str(tmp_path))
    backend._env_initialized = True
    backend._mlflow = Mock()
    backend.add_image('masked_video_0', image, 3)
    backend.add_image('mine.jpg', image, 3)
    MLflowVisBackend.add_image.__wrapped__(backend, 'masked_video_0', image, 3)
    names = [call.args[1] for call in backend._mlflow.log_image.call_args_list]
    assert names == ['masked_video_0_3.png', 'mine.jpg', 'masked_video_0']


@pytest.mark.parametrize(
    ('package', 'backend'),
    [
        ('tensorboard', 'TensorboardVisBackend'),
        pytest.param('mlflow', 'MLflowVisBackend', marks=pytest.mark.slow),
        pytest.param('wandb', 'WandbVisBackend', marks=pytest.mark.slow),
    ],
)
def test_a_run_with_curves_and_pictures(tmp_path, monkeypatch, package, backend):
    if find_spec(package) is None:
        pytest.skip(f'needs {package}')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    lines = write_videos(tmp_path / 'videos', 4, frames=20)
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    cfg = Config.fromfile(CONFIGS / '_base_/default_runtime.py')
    dataset = video_dataset_cfg(tmp_path, 'list.txt', frame_interval=2)
    cfg.merge_from_dict(
        dict(
            model=tiny_model_cfg(),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dataset,
            ),
            train_cfg=dict(type='ResumableEpochTrainLoop', max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        )
    )
    for hook in ('visualization', 'feature_health', 'health_curves', 'logger'):
        cfg.default_hooks[hook].interval = 1
    cfg.dump(tmp_path / 'cfg.py')
    options = {'visualizer.vis_backends.1.type': backend}
    run_tool('train', tmp_path / 'cfg.py', '--work-dir', tmp_path / 'run', **options)
    if package == 'tensorboard':
        (events,) = tmp_path.rglob('events.out.tfevents.*')
        found = EventAccumulator(str(events)).Reload()
        assert {'loss', 'health/entropy'} <= {*found.Tags()['scalars']}
        assert 'masked_video_0' in found.Tags()['images']
        assert any('config' in tag for tag in found.Tags()['tensors'])
    elif package == 'mlflow':
        names = {path.name for path in tmp_path.rglob('run/**/*') if path.is_file()}
        assert {'masked_video_0_1.png', 'loss', 'entropy', 'config.py'} <= names
    else:
        assert [*tmp_path.rglob('run-*.wandb')]
