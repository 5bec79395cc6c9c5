"""Every snippet of docs/inference.md runs."""

import re

import pytest

from tests.helpers import ROOT, load_tool, write_videos

PAGE = (ROOT / 'docs/inference.md').read_text('utf-8')


@pytest.mark.parametrize('kind', ['masked', 'classifier'])
def test_snippets(toy, kind, tmp_path, monkeypatch, capsys):
    write_videos(tmp_path / 'clips', 2, frames=20)
    (tmp_path / 'clips/0.mp4').rename(tmp_path / 'one.mp4')
    (tmp_path / 'classes.txt').write_text('a\nb\nc')
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r'```python\n(.*?)```', PAGE, re.S)
    assert len(snippets) == 3
    names = {}
    for snippet in snippets[: 2 if kind == 'masked' else 3]:
        for name, suffix in (('CONFIG', 'py'), ('CHECKPOINT', 'pth')):
            snippet = snippet.replace(name, str(toy.root / f'{kind}.{suffix}'))
        exec(snippet, names)
    output = capsys.readouterr().out
    assert output.count('(16,)') == 1
    assert {p.name for p in (tmp_path / 'out').iterdir()} == {
        *('0000_one.mp4', '0001_1.mp4', 'predictions.json')
    }
    if kind == 'classifier':
        assert 'rec_scores' in output and [*(tmp_path / 'drawn').iterdir()]


def test_command(toy):
    (command,) = re.findall(r'^python tools/app.py (.*)$', PAGE, re.M)
    assert load_tool('app').parse_args(command.split()).config == 'CONFIG'


@pytest.mark.parametrize('kind', ['masked', 'classifier'])
def test_table_has_every_key(toy, kind):
    from projects.adamae.apis.inferencer import AdaMAEInferencer

    files = toy.root / f'{kind}.py', toy.root / f'{kind}.pth'
    inferencer = AdaMAEInferencer(*files, show_progress=False)
    (found,) = inferencer(toy.videos[:1], features=True)['predictions']
    assert all(f'`{key}`' in PAGE for key in found)
