"""Hooks: what happens around training steps."""

from .checkpoint_check_hook import CheckpointCheckHook
from .compile_hook import CompileHook
from .deferred_info_hook import DeferredInfoHook
from .feature_health_hook import FeatureHealthHook
from .finite_check_hook import FiniteCheckHook
from .gradient_buckets_hook import GradientBucketsHook
from .health_check_hook import HealthCheckHook
from .health_curves_hook import HealthCurvesHook
from .knn_hook import KnnHook
from .onednn_hook import OneDNNHook
from .pretrain_visualization_hook import PretrainVisualizationHook
from .random_state_hook import RandomStateHook
from .safe_checkpoint_hook import CheckpointNotSaved, SafeCheckpointHook
from .stop_on_signal_hook import StopOnSignalHook
from .unreadable_videos_hook import UnreadableVideosHook

__all__ = [
    'CheckpointCheckHook',
    'CheckpointNotSaved',
    'CompileHook',
    'DeferredInfoHook',
    'FeatureHealthHook',
    'FiniteCheckHook',
    'GradientBucketsHook',
    'HealthCheckHook',
    'HealthCurvesHook',
    'KnnHook',
    'OneDNNHook',
    'PretrainVisualizationHook',
    'RandomStateHook',
    'SafeCheckpointHook',
    'StopOnSignalHook',
    'UnreadableVideosHook',
]
