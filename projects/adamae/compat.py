"""Work-arounds for defects of the packages this project builds on.

Importing this module applies them. ``tests/test_compat.py`` shows for each that the
defect is still there without it: where that test fails, the function can be removed.
"""

import gc
import importlib
import importlib.util
import os
import pickle
import re
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.config import Config
from mmengine.fileio import register_backend
from mmengine.logging import HistoryBuffer
from mmengine.structures import LabelData
from torch import library as torch_library

from .utils.config_text import read_config_text
from .utils.fileio import AtomicLocalBackend, atomic_path
from .utils.safe_loading import CheckpointMismatch, load_torch_file, loading_error


def _folder(package: str) -> Path | None:
    """Where a top-level package is installed, found without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


@contextmanager
def deferred(name: str, function: str) -> Iterator[None]:
    """Let ``from name import function`` give a function that imports when called.

    Everything else that is asked of the module while this lasts gets the real one.
    Afterwards the module is as if nobody had imported it.

    Args:
        name (str): of a module; if it is loaded, or not installed, nothing happens.
        function (str): of its functions or classes, one that is only called.
    """
    package, *parts = name.split('.')
    folder = _folder(package)
    if name in sys.modules or folder is None:
        yield
        return
    stand_in = types.ModuleType(name, f'Stand-in: imports {name} when it is needed.')
    stand_in.__spec__ = ModuleSpec(name, None)
    path = folder.joinpath(*parts)
    if path.is_dir():
        stand_in.__path__ = [str(path)]

    def real(attribute: str) -> Any:
        # Imports and `inspect` look at every module; nobody needs this one for that.
        if attribute.startswith('__') and attribute != '__version__':
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    def call(*args: Any, **kwargs: Any) -> Any:
        return real(function)(*args, **kwargs)

    vars(stand_in).update({function: call, '__getattr__': real})
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


def import_without(name: str, function: str, importer: str) -> None:
    """Import a module without another one that it uses in a rare function only.

    ``transformers``, ``scipy.stats`` and torch's compiler took three of the eight
    seconds of processor time that importing this project took, for an optimizer, a
    transform of poses and a layer of detectors. All of them work as before.

    Applies: where the module is installed and not loaded yet.
    """
    with deferred(name, function):
        importlib.import_module(importer)


def provide_drn() -> None:
    """Stand in for the localizer that the mmaction2 1.2.0 wheel lacks.

    ``mmaction.models`` imports it. The stand-in is not registered, so a config
    that asks for ``DRN`` still gets a clear error.

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


@deferred('torch._dynamo.utils', 'is_compile_supported')
def declare_torchvision_operators() -> torch_library.Library | None:
    """Make torchvision importable where its native library does not fit torch.

    Its Python part, which is all that MMPretrain needs, attaches shape functions
    to operators of that library. Declaring their names is enough; torchvision
    itself does not call them ("Couldn't load custom C++ ops").

    Applies: where ``import torchvision`` fails for that reason, as with a
    CPU-only torch.

    Returns:
        Library | None: the declarations, to be kept alive; None if none were needed.

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


def disable_multimodal_models() -> None:
    """Keep ``transformers`` from breaking MMAction2 and MMPretrain.

    Where it is installed, MMAction2 imports its language models, and so does
    MMPretrain if ``pycocotools`` is installed. Both import
    ``apply_chunking_to_forward``, which is gone after transformers 4.55; MMAction2's
    also need ``timm``, which it does not require. Without these models both import,
    and a config that asks for one gets an error with the missing package.

    Applies: where ``transformers`` is installed and lacks one of the two.

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
    """Import MMCV's layers without a warning.

    ``mmcv-lite`` warns in every process that a layer nobody uses is missing.

    Applies: always; the full ``mmcv`` does not warn.

    Source: ``mmcv/cnn/bricks/transformer.py``
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformable')
        importlib.import_module('mmcv.cnn.bricks.transformer')


def quiet_file_client() -> None:
    """Use MMEngine's own hooks without two warnings of deprecation a run.

    ``CheckpointHook`` and ``LoggerHook`` make a ``FileClient``, which MMEngine 0.10.7
    itself calls deprecated; no config can change that.

    Applies: always; the module logs nothing else.

    Source: ``mmengine/fileio/file_client.py``
    """
    vars(importlib.import_module('mmengine.fileio.file_client')).update(
        print_log=lambda *args, **kwargs: None
    )


def pickle_history_as_arrays() -> None:
    """Pickle MMEngine's ``HistoryBuffer`` without the methods of its class.

    MMEngine 0.10.7 pickles them with every instance, as calls of ``getattr``, which
    a safe loader must reject: it reaches everything. Here an instance keeps its
    two arrays and its length. MMEngine reads such files without this function.

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
    """Allow torch's safe loader what an MMEngine checkpoint is made of.

    Since torch 2.6 ``torch.load`` rejects other classes than those on a list, and
    MMEngine 0.10.7 does not extend it: a checkpoint with a message hub cannot be
    resumed. Added are the history buffer, numpy's two rebuilders (under their names
    in numpy 1 and 2), and the dtypes of numbers, booleans and text. Nothing in it
    reaches other code; ``getattr`` must never join it.

    Applies: always; entries may be added twice.

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


def load_checkpoints_safely() -> None:
    """Run nothing of a checkpoint, whatever loads it and wherever it is.

    MMEngine 0.10.7 executes the text ``meta['config']`` of a checkpoint as a Python
    file when a run is resumed, to count GPUs; nothing writes that text any more, and it
    is left out. From a URL, it loads with torch's unsafe loader, and does not compare
    the file with the SHA-256 in its name (``resnet18-5c106cde.pth``). From a disk, it
    uses torch's default, which an environment variable makes the unsafe one.

    Applies: always. A file that cannot be loaded, or is rejected, is an error of one
    line; torch's own advises to switch the safe loader off.

    Source: ``mmengine/runner/runner.py``, ``mmengine/runner/checkpoint.py``,
    ``torch/hub.py``
    """
    module = importlib.import_module('mmengine.runner.checkpoint')
    loader = module.CheckpointLoader
    original = loader.load_checkpoint.__func__

    @wraps(original)
    def load_checkpoint(cls: type, filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            content = original(cls, filename, *args, **kwargs)
        except pickle.UnpicklingError as error:  # of a backend without a loader here
            raise loading_error(filename, error) from None
        if isinstance(content, dict) and isinstance(content.get('meta'), dict):
            content['meta'].pop('config', None)
        return content

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        path = os.path.expanduser(filename)
        if not os.path.isfile(path):
            raise FileNotFoundError(f'checkpoint not found: {path}')
        return load_torch_file(path, map_location)

    def load_url(
        url: str,
        model_dir: str | None = None,
        map_location: Any = None,
        progress: bool = True,
    ) -> Any:
        name = os.path.basename(urlparse(url).path)
        stated = torch.hub.HASH_REGEX.search(name)
        # Eight or more digits; all decimal, they are rather a date.
        has_hash = stated and len(stated[1]) >= 8 and not stated[1].isdigit()
        try:
            return torch.hub.load_state_dict_from_url(
                url,
                model_dir,
                map_location,
                progress,
                check_hash=bool(has_hash),
                weights_only=True,
            )
        except RuntimeError as error:
            if 'invalid hash value' not in str(error):
                raise
            raise CheckpointMismatch(
                f'{url}: expected a file with the SHA-256 in its name, got another; '
                'download it from its authors and compare'
            ) from None

    loader.load_checkpoint = classmethod(load_checkpoint)
    loader.register_scheme('', load_from_local, force=True)
    vars(module)['load_url'] = load_url


def parse_config_text() -> None:
    """Read the text of a config without running it.

    ``Config.fromstring`` of MMEngine 0.10.7 runs its text, imports what it names and
    reads files that it names. MMEngine calls it with texts of checkpoints only: when a
    run is resumed, with every strategy, and in the inferencers of MMAction2 that are
    given weights and no config. What MMEngine itself has written is a row of literals.

    Applies: always; configs in files are code, and stay it.

    Source: ``mmengine/config/config.py``, ``mmengine/infer/infer.py``
    """

    def fromstring(cfg_str: str, file_format: str) -> Config:
        if file_format != '.py':
            return original(cfg_str, file_format)
        return read_config_text(cfg_str)

    original = Config.fromstring
    Config.fromstring = staticmethod(fromstring)


def classify_in_float32() -> None:
    """Let MMAction2's classifiers train in bfloat16.

    ``BaseHead.loss_by_feat`` of MMAction2 1.2.0 gives the scores to NumPy for the
    accuracy of the batch, wherever labels are not blended; NumPy has no bfloat16, and
    the run ends with ``Got unsupported ScalarType BFloat16``. Autocast computes the
    loss in float32 in any case.

    Applies: always; scores in float32 stay what they are.

    Source: ``mmaction/models/heads/base.py``
    """
    head = importlib.import_module('mmaction.models.heads.base').BaseHead
    original = head.loss_by_feat

    @wraps(original)
    def loss_by_feat(self: Any, cls_scores: torch.Tensor, data_samples: Any) -> Any:
        return original(self, cls_scores.float(), data_samples)

    head.loss_by_feat = loss_by_feat


def average_over_listed_classes() -> None:
    """Let the mean accuracy over classes leave out classes without a video.

    MMAction2 1.2.0 counts a class that was answered, but is nobody's label, as one with
    accuracy 0: ``acc/mean1`` falls with every such class.

    Applies: always; where all answers are labels in the list nothing changes.

    Source: ``mmaction/evaluation/functional/accuracy.py``
    """

    def mean_class_accuracy(scores: Any, labels: Any) -> float:
        labels = np.asarray(labels)
        right = np.argmax(scores, axis=1) == labels
        return np.mean([right[labels == label].mean() for label in np.unique(labels)])

    for module in ('functional.accuracy', 'functional', 'metrics.acc_metric', ''):
        name = f'mmaction.evaluation.{module}'.rstrip('.')
        vars(importlib.import_module(name))['mean_class_accuracy'] = mean_class_accuracy


def write_local_files_atomically() -> None:
    """Replace MMEngine's ``local`` file backend by one that leaves no half files.

    Applies: always; MMEngine 0.10.7 opens the final name for writing.

    Source: ``mmengine/fileio/backends/local_backend.py``
    """
    register_backend('local', AtomicLocalBackend, prefixes='', force=True)


def write_checkpoint_pointer_atomically() -> None:
    """Let MMEngine replace ``last_checkpoint`` instead of emptying and refilling it.

    ``CheckpointHook`` writes this file past the file backends. A run that is killed in
    between leaves it empty, and resuming then loads the checkpoint ``''``.

    Applies: always; the hook of MMEngine 0.10.7 calls ``open``, and only for this.

    Source: ``mmengine/hooks/checkpoint_hook.py``
    """

    @contextmanager
    def open_atomically(path: str, mode: str) -> Iterator[IO]:
        with atomic_path(path) as partial, open(partial, mode) as file:
            yield file

    vars(importlib.import_module('mmengine.hooks.checkpoint_hook')).update(
        open=open_atomically
    )


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


def keep_signals_from_loader_workers() -> None:
    """Leave signals to the process that trains; loader workers end with it.

    Ctrl-C, and what Slurm and torchrun send, reaches every process of a group. A worker
    of torch dies of it, with a traceback, and takes the run along before that can save.

    SIGTERM of the parent, which ends workers that hang, is still obeyed, and so is the
    parent's death, also by a worker that is busy.

    Applies: always, in loader workers only.

    Source: ``torch/utils/data/_utils/signal_handling.py``
    """
    module = importlib.import_module('torch.utils.data._utils.signal_handling')
    original = vars(module)['_set_worker_signal_handlers']

    def watch(parent: int) -> None:
        while True:
            received = signal.sigtimedwait([signal.SIGTERM], 5)
            if os.getppid() != parent or (received and received.si_pid == parent):
                os._exit(0)

    @wraps(original)
    def set_handlers() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        original()
        threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()

    vars(module)['_set_worker_signal_handlers'] = set_handlers


def draw_predicted_classes() -> None:
    """Let MMAction2's inferencers write the predicted class into their pictures.

    ``ActionVisualizer`` of MMAction2 1.2.0 looks for ``pred_labels``, which its samples
    had before 1.2; now they have ``pred_label`` and ``pred_score``. No class is drawn,
    and a ``label_file`` has no effect.

    Applies: to predictions of a classifier.

    Source: https://github.com/open-mmlab/mmaction2/pull/2859
    """
    visualizer = importlib.import_module('mmaction.visualization').ActionVisualizer
    original = visualizer.add_datasample

    @wraps(original)
    def add_datasample(
        self: Any, name: str, video: Any, data_sample: Any = None, *args: Any, **kw: Any
    ) -> Any:
        if data_sample is not None and 'pred_label' in data_sample:
            label = LabelData(item=data_sample.pred_label)
            if 'pred_score' in data_sample:
                label.score = data_sample.pred_score
            data_sample = data_sample.new(pred_labels=label)
        return original(self, name, video, data_sample, *args, **kw)

    visualizer.add_datasample = add_datasample


def visualize_every_video() -> None:
    """Let ``MMAction2Inferencer`` draw all of its videos, and not only the first.

    MMAction2 1.2.0 hands the predictions of the first video on, in the place of the
    first prediction of every video.

    Applies: always; one video is drawn as before.

    Source: ``mmaction/apis/inferencers/mmaction2_inferencer.py``
    """
    inferencer = importlib.import_module('mmaction.apis.inferencers')
    original = inferencer.MMAction2Inferencer.visualize

    @wraps(original)
    def visualize(self: Any, inputs: Any, preds: Any, **kwargs: Any) -> Any:
        first = [predictions[0] for predictions in preds['rec']]
        return original(self, inputs, {**preds, 'rec': [first]}, **kwargs)

    inferencer.MMAction2Inferencer.visualize = visualize


def name_images_of_mlflow() -> None:
    """Let MLflow keep the pictures of a run, of each step one.

    ``MLflowVisBackend`` of MMEngine 0.10.7 hands their names on; without a suffix, as
    all hooks have them, MLflow raises ``unknown file extension`` and the run ends.

    Applies: to names without a suffix; they are completed as MMEngine's other backends
    do.

    Source: https://github.com/open-mmlab/mmengine/issues/1681
    """
    backend = importlib.import_module('mmengine.visualization').MLflowVisBackend
    original = backend.add_image

    @wraps(original)
    def add_image(self: Any, name: str, image: Any, step: int = 0, **kw: Any) -> None:
        name = name if Path(name).suffix else f'{name}_{step}.png'
        original(self, name, image, step, **kw)

    backend.add_image = add_image


def quiet_pkg_resources() -> None:
    """Read ``adamae::`` in a config without warnings that nobody here can heed.

    MMEngine 0.10.7 imports ``pkg_resources`` for it, which setuptools calls deprecated.

    Applies: always; of other warnings nothing changes.

    Source: ``mmengine/utils/package_utils.py``
    """
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated as an API')


def build_scoped_collate_fn() -> None:
    """Build the loaders of configs that inherit from ``adamae::``.

    Such a base adds ``_scope_`` to what has a type, and MMEngine 0.10.7 hands it to the
    function that collates a batch.

    Applies: to a ``collate_fn`` with ``_scope_``.

    Source: ``Runner.build_dataloader``
    """
    module = importlib.import_module('mmengine.runner')
    for runner in (module.Runner, module.FlexibleRunner):
        runner.build_dataloader = staticmethod(_without_scope(runner.build_dataloader))


def _without_scope(original: Callable) -> Callable:
    @wraps(original)
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        collate = isinstance(dataloader, dict) and dataloader.get('collate_fn')
        if isinstance(collate, dict) and '_scope_' in collate:
            plain = {k: v for k, v in collate.items() if k != '_scope_'}
            dataloader = {**dataloader, 'collate_fn': plain}
        return original(dataloader, *args, **kwargs)

    return build_dataloader


provide_drn()
import_without('transformers', 'Adafactor', 'mmengine.optim.optimizer.builder')
quiet_mmcv_lite()
_torchvision_operators = declare_torchvision_operators()
disable_multimodal_models()
import_without('scipy.stats', 'mode', 'mmaction.datasets.transforms.pose_transforms')
quiet_file_client()
pickle_history_as_arrays()
allow_checkpoint_globals()
load_checkpoints_safely()
parse_config_text()
classify_in_float32()
average_over_listed_classes()
write_local_files_atomically()
write_checkpoint_pointer_atomically()
keep_inherited_decoders()
keep_signals_from_loader_workers()
draw_predicted_classes()
visualize_every_video()
name_images_of_mlflow()
quiet_pkg_resources()
build_scoped_collate_fn()
