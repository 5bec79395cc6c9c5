"""The page in the browser, without Gradio."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from projects.adamae.apis.app import build_page, run_video
from tests.helpers import run_tool


class Inferencer:
    """Stands in for an inferencer of a classifier of two classes."""

    masks = False
    classes = ['up', 'down']

    def __call__(self, inputs, out_dir):
        (video,) = inputs
        if 'bad' in video:
            return {'predictions': [{'error': f'{video}: truncated'}]}
        (out_dir / '0000_a.mp4').write_bytes(b'')
        probabilities = np.array([0.25, 0.75], np.float32)
        return {'predictions': [{'error': None, 'probabilities': probabilities}]}


class Part:
    """Stands in for a component; keeps what it was made with."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def click(self, *args):
        Gradio.clicks.append(args)

    def launch(self, **kwargs):
        Gradio.launched.append(kwargs)


class Error(Exception):
    pass


class Gradio(ModuleType):
    """Stands in for the package."""

    clicks, launched = [], []
    Error = Error

    def __init__(self):
        super().__init__('gradio')
        for name in ('Blocks', 'Markdown', 'Video', 'Button', 'Label'):
            setattr(self, name, type(name, (Part,), {}))


@pytest.fixture
def gradio(monkeypatch):
    module = Gradio()
    monkeypatch.setattr(Gradio, 'clicks', [])
    monkeypatch.setattr(Gradio, 'launched', [])
    monkeypatch.setitem(sys.modules, 'gradio', module)
    return module


def test_page_of_a_classifier(gradio, tmp_path):
    build_page(Inferencer(), tmp_path)
    ((answer, source, outputs),) = gradio.clicks
    assert [type(part).__name__ for part in (source, *outputs)] == [
        *('Video', 'Label', 'Video')
    ]
    classes, overlay = answer('/clips/a.mp4')
    assert classes == {'up': 0.25, 'down': 0.75}
    assert tmp_path in Path(overlay).parents
    with pytest.raises(Error, match=r'^bad.mp4: truncated$'):
        answer('/secret/bad.mp4')
    with pytest.raises(Error, match='choose a video'):
        answer(None)


def test_page_of_a_masked_autoencoder(gradio, tmp_path):
    inferencer = Inferencer()
    inferencer.masks = True
    build_page(inferencer, tmp_path)
    ((answer, _, outputs),) = gradio.clicks
    assert len(outputs) == 1 and answer('a.mp4').endswith('0000_a.mp4')


def test_two_answers_do_not_meet(tmp_path):
    overlays = {run_video(Inferencer(), 'a.mp4', tmp_path)[0] for _ in range(2)}
    assert len(overlays) == 2


def test_without_gradio_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(ImportError, match='pip install gradio'):
        build_page(Inferencer(), tmp_path)


def test_tool(toy, gradio, monkeypatch, capfd):
    arguments = toy.root / 'classifier.py', toy.root / 'classifier.pth'
    run_tool('app', *arguments, '--port', 7000)
    (launched,) = gradio.launched
    assert (launched['server_name'], launched['server_port']) == ('127.0.0.1', 7000)
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(SystemExit) as error:
        run_tool('app', *arguments)
    assert error.value.code == 2
    assert capfd.readouterr().err.startswith('error: the page needs Gradio')
