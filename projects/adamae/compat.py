"""Work-arounds for defects of the packages this project builds on.

Importing this module applies each of them, and each only where its defect is
there. ``tests/test_compat.py`` shows for each that the defect is still there
without it: where that test fails, the function can be removed.
"""

import gc
import importlib
import importlib.util
import os
import pickle
import re
import sys
import types
import warnings
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import library as torch_library


def _folder(package: str) -> Path | None:
    """Where a top-level package is installed, found without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def provide_drn() -> None:
    """Stand in for the localizer that the mmaction2 1.2.0 wheel lacks.

    ``mmaction.models`` imports ``mmaction.models.localizers.drn``, which was
    left out of the wheel. The stand-in makes the import pass; it is not
    registered, so a config that asks for ``DRN`` still gets a clear error.

    Applies: where the file is missing (a source checkout has it).

    Source: https://github.com/open-mmlab/mmaction2/issues/2714
    """
    mmaction = _folder('mmaction')
    if mmaction is None or (mmaction / 'models/localizers/drn/drn.py').is_file():
        return
    name = 'mmaction.models.localizers.drn.drn'
    module = types.ModuleType(name, 'Stand-in: the mmaction2 wheel lacks DRN.')
    module.__dict__['DRN'] = type('DRN', (), {})
    sys.modules[name] = module


def declare_torchvision_operators() -> torch_library.Library | None:
    """Make torchvision importable beside a torch that its library does not fit.

    Its native library cannot load beside, say, a CPU-only torch. Its Python
    part is meant to work without, but attaches shape functions to operators
    that nobody has declared then. Declaring their names is enough: there is no
    kernel behind them, and torchvision itself refuses to call them ("Couldn't
    load custom C++ ops"). MMPretrain needs the Python part only.

    Applies: where ``import torchvision`` fails for that reason.

    Returns:
        Library | None: what holds the declarations, to be kept
        alive; ``None`` where there was nothing to do.

    Source: https://github.com/pytorch/vision/issues/9085
    """
    try:
        importlib.import_module('torchvision')
        return None
    except RuntimeError as error:
        if not re.search(r'operator torchvision::\w+ does not exist', str(error)):
            raise
    folder = _folder('torchvision')
    assert folder is not None
    source = (folder / '_meta_registrations.py').read_text(encoding='utf-8')
    library = torch_library.Library('torchvision', 'FRAGMENT')
    for name in sorted(set(re.findall(r'"torchvision::(\w+)"', source))):
        library.define(f'{name}() -> ()')
    importlib.import_module('torchvision')
    return library


def leave_out_multimodal_models() -> None:
    """Keep ``transformers`` from breaking MMAction2 and MMPretrain.

    Where it is installed, MMAction2 imports its language models, and MMPretrain
    too if ``pycocotools`` is there as well. Both take ``apply_chunking_to_forward``
    from a module that lost it after transformers 4.55; MMAction2's also need
    ``timm``, which is no requirement of its. Told that there are no such models,
    both import, and a config that asks for one is told what is missing.

    Applies: where ``transformers`` is installed and one of the two is not there.

    Source: https://github.com/xinyu1205/recognize-anything/issues/219 (the same
    import elsewhere), ``mmaction/models/multimodal/vindlu``
    """
    transformers = _folder('transformers')
    if transformers is None:
        return
    source = (transformers / 'modeling_utils.py').read_text(encoding='utf-8')
    fits = 'apply_chunking_to_forward' in source
    for package, usable in (
        ('mmaction', fits and _folder('timm') is not None),
        ('mmpretrain', fits),
    ):
        if not usable:
            dependency = importlib.import_module(f'{package}.utils.dependency')
            vars(dependency)['WITH_MULTIMODAL'] = False


def quiet_mmcv_lite() -> None:
    """Import MMCV's layers without being told to install another package.

    ``mmcv-lite`` warns on import that a layer nobody asked for is missing, in
    every process of every run.

    Applies: where ``mmcv.ops`` is not there; the full ``mmcv`` has nothing to say.

    Source: ``mmcv/cnn/bricks/transformer.py``
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformable')
        importlib.import_module('mmcv.cnn.bricks.transformer')


def pickle_history_as_arrays() -> None:
    """Pickle MMEngine's ``HistoryBuffer`` without the methods of its class.

    MMEngine 0.10.7 puts the functions of ``HistoryBuffer`` into the pickle of
    every instance. They are looked up with ``getattr``, which a safe loader
    must refuse: who may call it can reach everything. They belong to the class
    anyway, so an instance keeps its two arrays and its length. Files written
    so can also be read without this function.

    Applies: where such a pickle calls ``getattr``.

    Source: https://github.com/open-mmlab/mmengine/issues/1655
    """
    # torch.save uses protocol 2 as well; later ones look functions up otherwise.
    if b'getattr' not in pickle.dumps(HistoryBuffer(), protocol=2):
        return
    fields = ('max_length', '_log_history', '_count_history')

    def getstate(self: HistoryBuffer) -> dict[str, Any]:
        return {name: getattr(self, name) for name in fields}

    def setstate(self: HistoryBuffer, state: dict[str, Any]) -> None:
        self._set_default_statistics()
        self.max_length = int(state['max_length'])
        self._log_history = np.asarray(state['_log_history'])
        self._count_history = np.asarray(state['_count_history'])

    HistoryBuffer.__getstate__ = getstate
    HistoryBuffer.__setstate__ = setstate


def allow_checkpoint_globals() -> None:
    """Tell torch's safe loader what an MMEngine checkpoint is made of.

    Since torch 2.6 ``torch.load`` refuses classes that it was not told about,
    and MMEngine 0.10.7 does not tell it: a checkpoint with a message hub cannot
    be resumed. The list is the history buffer, numpy's two rebuilders (under
    their names in numpy 1 and 2), and the dtypes of numbers, truth values and
    text. Nothing in it reaches other code; ``getattr`` must never join it.

    Applies: always; a loader that was told already does not mind.

    Source: https://github.com/open-mmlab/mmengine/issues/1655
    """
    multiarray = importlib.import_module('numpy._core.multiarray')
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        for rebuild in (multiarray._reconstruct, multiarray.scalar):
            allowed.append((rebuild, f'{module}.{rebuild.__name__}'))
    plain = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?SU'
    allowed += {type(np.dtype(code)) for code in plain}
    torch.serialization.add_safe_globals(allowed)


def classify_in_float32() -> None:
    """Let MMAction2's classifiers train in bfloat16.

    ``BaseHead.loss_by_feat`` of MMAction2 1.2.0 gives the scores to NumPy for the
    accuracy of the batch, wherever labels are not blended; NumPy has no bfloat16, and
    the run ends with ``Got unsupported ScalarType BFloat16``. Scores in float32, which
    a loss wants in any case, are the same to NumPy and to autocast.

    Applies: always; scores in float32 stay what they are.

    Source: ``mmaction/models/heads/base.py``
    """
    head = importlib.import_module('mmaction.models.heads.base').BaseHead
    original = head.loss_by_feat

    @wraps(original)
    def loss_by_feat(self: Any, cls_scores: torch.Tensor, data_samples: Any) -> Any:
        return original(self, cls_scores.float(), data_samples)

    head.loss_by_feat = loss_by_feat


def keep_inherited_decoders() -> None:
    """Keep a forked process from destroying the video decoders of its parent.

    The destructors of decord's reader and of FFmpeg's scaler join their threads, which
    a forked process does not have: it hangs or crashes. That happens to a loader worker
    whose garbage collector finds such an object, for instance in the traceback of an
    error that its parent has handled. Frozen objects are never collected.

    Applies: always, in forked processes only.

    Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    os.register_at_fork(after_in_child=gc.freeze)


provide_drn()
quiet_mmcv_lite()
_torchvision_operators = declare_torchvision_operators()
leave_out_multimodal_models()
pickle_history_as_arrays()
allow_checkpoint_globals()
classify_in_float32()
keep_inherited_decoders()
