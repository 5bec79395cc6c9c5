"""Faster matrix products while a run is on a CPU."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...models.transformer import set_attention_kernel
from ...utils import cpu


@HOOKS.register_module()
class OneDNNHook(Hook):
    """Multiply float32 matrices with oneDNN during a run, where that is faster.

    Nothing happens with an accelerator, or on a CPU that MKL serves well. Results
    differ by rounding. See :func:`projects.adamae.utils.cpu.use_onednn`.

    Args:
        enabled (bool): False leaves all products to MKL. Defaults to True.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_run(self, runner: Runner) -> None:
        """Switch, before anything is computed or compiled."""
        cpu.stop_onednn()  # of a run that an error ended
        if self.enabled and cpu.use_onednn():
            runner.logger.info('Matrix products on this CPU: oneDNN instead of MKL')
        set_attention_kernel(runner.model, onednn=cpu.uses_onednn())

    def after_run(self, runner: Runner) -> None:
        """Leave the process and the model as they were."""
        cpu.stop_onednn()
        set_attention_kernel(runner.model, onednn=False)
