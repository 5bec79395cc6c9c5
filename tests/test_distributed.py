"""Two real processes (gloo) against one."""

import torch
import torch.distributed as dist
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import set_random_seed
from torch.multiprocessing import start_processes
from torch.testing import assert_close

from tests.helpers import CONFIGS, tiny_model_cfg


def make():
    """A model, 4 clips and masks, the same in every process."""
    torch.manual_seed(0)
    cfg = tiny_model_cfg()
    cfg['sampler']['drop_rate'] = 0.0
    cfg['loss'] = dict(type='AdaMAELoss', sampling_weight=1.0)
    model = MODELS.build(cfg)
    model.init_weights()
    mask = torch.rand(4, 16).argsort(dim=1) < 12
    return model.train().double(), torch.randn(4, 3, 8, 16, 16).double(), mask


def backward(model, clips, mask):
    model.zero_grad()
    losses = model(clips, None, mode='loss', mask=mask)
    (losses['loss_reconstruction'] + losses['loss_sampling']).backward()


def work(rank, folder):
    torch.set_num_threads(1)  # threads of the first process are not copied
    store = f'file://{folder}/store'
    dist.init_process_group('gloo', store, rank=rank, world_size=2)
    model, clips, mask = make()
    wrapped = MMDistributedDataParallel(model, device_ids=None)
    share = slice(2 * rank, 2 * rank + 2)
    for _ in range(2):  # an unused parameter would make the second forward pass raise
        backward(wrapped, clips[share], mask[share])
    runtime = Config.fromfile(CONFIGS / '_base_/default_runtime.py')
    set_random_seed(**runtime.randomness)
    with torch.no_grad():
        free_mask = model.sampler(model.backbone.embed(clips)).mask
    gradients = {name: p.grad for name, p in model.named_parameters()}
    torch.save((gradients, free_mask), folder / f'{rank}.pth')
    dist.destroy_process_group()


def test_two_processes_give_the_gradients_of_one(tmp_path):
    # Copies of this process: two that import everything again would take 14 s.
    start_processes(work, (tmp_path,), nprocs=2, start_method='fork')
    first, first_mask = torch.load(tmp_path / '0.pth')
    second, second_mask = torch.load(tmp_path / '1.pth')
    model, *batch = make()
    backward(model, *batch)
    for name, parameter in model.named_parameters():
        # In float64, what is left is the order of the sums.
        assert_close(first[name], parameter.grad, rtol=1e-5, atol=1e-12)
        assert torch.equal(first[name], second[name])
    assert not torch.equal(first_mask, second_mask)
