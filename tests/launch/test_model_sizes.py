"""What follows the sizes of the model, and what does not."""

import pytest
from mmengine.config import Config

from projects.adamae.launch.model_sizes import follow_model


def follow(pipeline, **backbone):
    cfg = Config(dict(model=dict(backbone=backbone)))
    cfg.train_dataloader = dict(dataset=dict(pipeline=pipeline))
    follow_model(cfg)
    return cfg.train_dataloader.dataset.pipeline


@pytest.mark.parametrize(
    'steps',
    [
        # What has the size of the clips follows, also inside of other transforms.
        '[dict(scale=(-1, 224)), dict(crop_size=224)]',
        '[dict(input_size=224), dict(scale=[224, 224], keep_ratio=False)]',
        '[dict(type="PerClip", transforms=[[dict(size=224)]])]',
        '[dict(scale=(171, 256), keep_ratio=False), dict(crop_size=(224, 224))]',
        # Pipelines that end in no fixed size, or in no square, stay as they are.
        '[dict(scale=(-1, 225))]',
        '[dict(scale=0.5, keep_ratio=False)]',
        '[dict(crop_size=225), dict(crop_size=(225, 160))]',
    ],
)
def test_sizes_of_images(steps):
    assert follow(eval(steps), img_size=112) == eval(steps.replace('224', '112'))
    assert follow(eval(steps)) == eval(steps)


def test_clip_length():
    steps = [dict(clip_len=16), dict(crop_size=224)]
    assert follow(steps, num_frames=32) == [dict(clip_len=32), dict(crop_size=224)]
    assert follow(steps, img_size=224, num_frames=16) == steps


def test_everything_that_follows_is_logged_in_one_line(monkeypatch):
    data = dict(pipeline=[dict(clip_len=16)])
    sizes = dict(num_frames=8, patch_size=4, tubelet_size=2)
    blending = dict(augments=[dict(alpha=1, num_classes=400), dict(num_classes=51)])
    cfg = Config(dict(model=dict(backbone=sizes, cls_head=dict(num_classes=51))))
    cfg.model.data_preprocessor = dict(blending=blending)
    cfg.val_dataloader = dict(dataset=dict(dataset=dict(datasets=[data])))
    cfg.custom_hooks = [dict(type='A'), dict(train_dataset=data)]
    cfg.val_evaluator = [dict(type='A'), dict(patch_size=8, tubelet_size=2)]
    lines = []
    monkeypatch.setattr(
        'projects.adamae.launch.model_sizes.print_log',
        lambda message, logger: lines.append(message),
    )
    follow_model(cfg)
    follow_model(cfg)
    assert lines == [
        'changed to the sizes of the model: '
        'val_dataloader.dataset.dataset.datasets.0.pipeline, '
        'custom_hooks.1.train_dataset.pipeline, val_evaluator.1.patch_size, '
        'model.data_preprocessor.blending.augments.0.num_classes'
    ]
    assert cfg.val_evaluator[1] == dict(patch_size=4, tubelet_size=2)
    assert cfg.custom_hooks[1].train_dataset.pipeline == [dict(clip_len=8)]
    augments = cfg.model.data_preprocessor.blending.augments
    assert [augment.num_classes for augment in augments] == [51, 51]


def test_configs_without_a_model_or_its_sizes_are_left_alone():
    for cfg in (Config(), Config(dict(model=dict(type='Own')))):
        before = cfg.to_dict()
        follow_model(cfg)
        assert cfg.to_dict() == before
