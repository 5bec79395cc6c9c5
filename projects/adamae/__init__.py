"""AdaMAE and its peers: masked video pre-training for MMAction2.

Importing this package registers its components; in a config that is
``custom_imports = dict(imports=['projects.adamae'])``.
"""

from . import compat  # isort: skip  # first: without it, MMAction2 may not import
from . import datasets, engine, evaluation, models, registry
from .datasets import *
from .engine import *
from .evaluation import *
from .models import *

__all__ = [
    *datasets.__all__,
    *engine.__all__,
    *evaluation.__all__,
    *models.__all__,
    'compat',
    'registry',
]
