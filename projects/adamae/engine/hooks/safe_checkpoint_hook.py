"""Save a checkpoint of the whole run on demand."""

from __future__ import annotations

import os

from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...utils.fileio import atomic_path


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, which can also save between two of its checkpoints."""

    def save_now(self, runner: Runner) -> str:
        """Save the whole state of a run after an iteration; called by all ranks.

        Args:
            runner (Runner): in ``after_train_iter``.

        Returns:
            str: path of the checkpoint.
        """
        step = runner.iter + 1
        name = f'iter_{step}.pth'
        path = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', path)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=True,
            save_param_scheduler=True,
            meta=dict(epoch=runner.epoch, iter=step),
            by_epoch=False,
            backend_args=self.backend_args,
        )
        if is_main_process():
            pointer = os.path.join(runner.work_dir, 'last_checkpoint')
            with atomic_path(pointer) as partial, open(partial, 'w') as file:
                file.write(path)
        return path
