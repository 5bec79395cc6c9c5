"""Makes every config that is read a toy: its keys stay, model, batches and runs shrink.

``test_documented_runs`` puts this file into a copy of the project, whose package
imports it. Options of a command line come on top, as for a config of full size.
"""

from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook

from projects.adamae.datasets.from_config import SPLITS

WIDTH = dict(embed_dims=16, num_heads=2, depth=1)
read = Config.fromfile


@HOOKS.register_module()
class LastEpochHook(Hook):
    """Train only the last epoch, whose checkpoint has the name that pages state."""

    def before_train(self, runner):
        loop = runner.train_loop
        # A benchmark's run has no last epoch.
        if not loop._iter and loop.max_epochs < 10_000:
            loop._epoch = loop.max_epochs - 1
            loop._iter = loop._epoch * len(loop.dataloader)


def shrink(cfg):
    """Shrink a config in place; once or several times, that is the same."""
    model = cfg.get('model') or {}
    backbone = model.get('backbone') or {}
    if 'depth' in backbone:
        backbone.update(WIDTH, img_size=min(backbone.img_size, 64))
    if 'decoder' in model:
        model.decoder.update(WIDTH)
        sampler = model.get('sampler') or {}
        for key, value in dict(num_heads=2, embed_dims=8).items():
            if key in sampler:
                sampler[key] = value
    if 'cls_head' in model:
        model.cls_head.in_channels = WIDTH['embed_dims']
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            loader.update(num_workers=0, batch_size=min(loader.batch_size, 2))
            loader.pop('persistent_workers', None)
            if 'num_videos' in loader.sampler:
                loader.sampler.num_videos = 8
    paramwise = (cfg.get('optim_wrapper') or {}).get('paramwise_cfg') or {}
    if 'num_layers' in paramwise:
        paramwise.num_layers = WIDTH['depth']
    hooks = cfg.setdefault('custom_hooks', [])
    if cfg.get('train_cfg') and not any(h.type == 'LastEpochHook' for h in hooks):
        # First: others count the iterations that are left.
        hooks.insert(0, dict(type='LastEpochHook', priority='VERY_HIGH'))
    return cfg


def read_toy(*args, **kwargs):
    return shrink(read(*args, **kwargs))
