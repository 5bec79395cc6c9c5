"""AdaMAE for MMAction2, installed as ``adamae``; the code is ``projects.adamae``.

The name is that of the scope in ``_base_ = 'adamae::adamae/...'``, for which MMEngine
and mim look here: in ``registry``, ``utils`` and the folder ``.mim``.
"""

from projects.adamae.apis.zoo import get_config, get_model
from projects.adamae_files import list_models

__all__ = ['get_config', 'get_model', 'list_models']
