"""Hooks: what happens around training steps."""

from .checkpoint_check_hook import CheckpointCheckHook
from .compile_hook import CompileHook
from .deferred_info_hook import DeferredInfoHook
from .finite_check_hook import FiniteCheckHook
from .gradient_buckets_hook import GradientBucketsHook
from .health_check_hook import HealthCheckHook
from .knn_hook import KnnHook
from .onednn_hook import OneDNNHook
from .random_state_hook import RandomStateHook
from .safe_checkpoint_hook import CheckpointNotSaved, SafeCheckpointHook
from .stop_on_signal_hook import StopOnSignalHook
from .unreadable_videos_hook import UnreadableVideosHook

__all__ = [
    'CheckpointCheckHook',
    'CheckpointNotSaved',
    'CompileHook',
    'DeferredInfoHook',
    'FiniteCheckHook',
    'GradientBucketsHook',
    'HealthCheckHook',
    'KnnHook',
    'OneDNNHook',
    'RandomStateHook',
    'SafeCheckpointHook',
    'StopOnSignalHook',
    'UnreadableVideosHook',
]
