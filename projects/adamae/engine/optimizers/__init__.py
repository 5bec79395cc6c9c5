"""How parameters are handed to the optimizer."""

from .layer_decay import TokenLayerDecayOptimizerConstructor
from .merge import explain_mismatch, merge_param_groups
from .merged_constructor import MergedOptimWrapperConstructor

__all__ = [
    'MergedOptimWrapperConstructor',
    'TokenLayerDecayOptimizerConstructor',
    'explain_mismatch',
    'merge_param_groups',
]
