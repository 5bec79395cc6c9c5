"""The page of pictures: what it shows is there, and its commands make it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import ROOT

PAGE = (ROOT / 'docs/gallery.md').read_text()
PICTURES = re.findall(r'!\[.*?\]\((\S+)\)', PAGE)


def test_every_picture_is_shown_and_small():
    moving = ROOT / 'docs/demo.gif'
    shown = {ROOT / 'docs' / name for name in PICTURES}
    assert {moving, *(ROOT / 'docs/gallery').iterdir()} == shown
    assert sum(path.stat().st_size for path in shown) < 4e6
    assert moving.stat().st_size < 1e6
    assert '(docs/demo.gif)' in (ROOT / 'README.md').read_text()


@pytest.mark.slow
def test_the_commands_make_the_pictures(tmp_path):
    """All of them, word by word, with fewer videos."""
    commands = ''.join(re.findall('```bash\n(.*?)```', PAGE, re.S))
    few = 'data/motion --num-train 32 --num-val 8 '  # two steps an epoch
    assert commands.count('data/motion ') == 1
    commands = commands.replace('data/motion ', few)
    for name in ('configs', 'projects', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    env = {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    subprocess.run(
        ['sh', '-e'], input=commands, text=True, cwd=tmp_path, env=env, check=True
    )
    for name in PICTURES:
        with Image.open(tmp_path / 'docs' / name) as image:
            frames = 16 if name.endswith('.gif') else 1
            assert getattr(image, 'n_frames', 1) == frames
