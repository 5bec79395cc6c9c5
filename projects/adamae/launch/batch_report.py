"""What a run makes of its data: said before it starts, as it changes the results."""

from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..datasets import VideoFolderDataset
from ..datasets.from_config import iter_built
from ..datasets.unreadable import ALLOW_MORE, max_unreadable
from ..utils.batches import FEW_STEPS, LARGE_SHARE, largest_batch_size
from ..video.folder import find_unreadable
from .distributed import rank_and_local_rank, warn
from .safeguards import unreadable_videos_hook

# Videos of a folder that are opened before the start.
_NUM_VIDEOS_TO_OPEN = 500


def report_batches(runner: Runner) -> None:
    """Warn of few steps, and of videos left out.

    Args:
        runner (Runner): of a training run; its data loader is built.
    """
    loader, world = runner.train_loop.dataloader, runner.world_size
    batches = loader.batch_sampler
    size = getattr(batches, 'batch_size', None)
    if size is None:  # batches of a sampler of the user's own
        return
    # A sampler may have its own idea of an epoch.
    videos = getattr(batches.sampler, 'num_videos', len(loader.dataset))
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        steps = len(loader)
        left = (
            max(videos - steps * size * world, 0)
            if loader.batch_sampler.drop_last
            else 0
        )
        if steps < FEW_STEPS or left > LARGE_SHARE * videos:
            total = size * world
            unit = 'step' if steps == 1 else 'steps'
            text = f'{videos} videos in batches of {total} make {steps} {unit} an epoch'
            if left:
                text += f' and leave {left} videos ({left / videos:.0%}) out of each'
            better = largest_batch_size(videos, size, world)
            advice = [f'train_dataloader.batch_size={better}'] * (better < size)
            advice += ['train_dataloader.drop_last=False'] * bool(left)
            if advice:
                text += f'; set --cfg-options {" or ".join(advice)}'
            else:
                text += '; train for more epochs, with warm-up to match'
            warn(f'train_dataloader: {text}')


def report_videos(runner: Runner) -> None:
    """Log how many videos of a folder cannot be read; the first process looks.

    Args:
        runner (Runner): of a training run; its data loader is built.

    Raises:
        ValueError: if they are more than may be bad of all.
    """
    if rank_and_local_rank()[0]:
        return
    videos = [
        (dataset, index)
        for dataset in iter_built(runner.train_loop.dataloader.dataset)
        if isinstance(dataset, VideoFolderDataset)
        for index in range(len(dataset))
    ]
    if not videos:
        return
    chosen = videos[:: -(-len(videos) // _NUM_VIDEOS_TO_OPEN)]
    files = [dataset.get_data_info(index)['filename'] for dataset, index in chosen]
    errors = find_unreadable(files)
    share = unreadable_videos_hook(runner.cfg).get('max_share')
    limit = max_unreadable(len(runner.train_loop.dataloader.dataset), share)
    text = f'data_prefix.video: {len(errors)} of {len(files)} videos cannot be read'
    named = '; '.join(map(str, errors[:3])) + ' ...' * (len(errors) > 3)
    if len(errors) > limit:
        raise ValueError(
            f'{text}, more than the {limit} allowed: {named}; repair or remove them, '
            f'or {ALLOW_MORE}'
        )
    if errors:
        warn(f'{text}; others take their place: {named}')
    else:
        print_log(text, 'current')
