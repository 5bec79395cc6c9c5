"""One rank of tests/test_distributed.py: gradients of a global batch of 4 clips."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import set_random_seed

from tests.helpers import ROOT, tiny_model_cfg

dist.init_process_group('gloo')
rank, world_size = dist.get_rank(), dist.get_world_size()

torch.manual_seed(0)
cfg = tiny_model_cfg()
cfg['sampler']['drop_rate'] = 0.0
cfg['loss'] = dict(type='AdaMAELoss', sampling_weight=1.0)
model = MODELS.build(cfg)
model.init_weights()
clips = torch.randn(4, 3, 8, 16, 16)
mask = torch.rand(4, 16).argsort(dim=1) < 12

share = slice(rank * 4 // world_size, (rank + 1) * 4 // world_size)
# An unused parameter would make the second forward pass raise.
wrapped = MMDistributedDataParallel(model.train().double(), device_ids=None)
for _ in range(2):
    model.zero_grad()
    losses = wrapped(clips[share].double(), None, mode='loss', mask=mask[share])
    (losses['loss_reconstruction'] + losses['loss_sampling']).backward()

runtime = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
set_random_seed(**runtime.randomness)
with torch.no_grad():
    free_mask = model.sampler(model.backbone.embed(clips.double())).mask
torch.save(
    dict(
        gradients={name: p.grad for name, p in model.named_parameters()},
        free_mask=free_mask,
    ),
    Path(sys.argv[1]) / f'{world_size}_{rank}.pth',
)
dist.destroy_process_group()
