"""The page in a browser: scripts, slider and colors."""

import shutil
import subprocess

import numpy as np
import pytest

from projects.adamae.reporting import page, playing
from projects.adamae.reporting.images import encode

CHROMIUM = shutil.which('chromium')
# Runs after the page's own scripts, and says what it finds where --dump-dom shows it.
PROBE = """
<script>
'use strict';
(async () => {
  const found = [];
  const check = (name, is) => { if (!is) found.push(name); };
  const wait = (ms) => new Promise((go) => setTimeout(go, ms));
  const root = document.documentElement;
  for (let i = 0; i < 100 && !root.dataset.ready; i++) await wait(50);
  check('ready', root.dataset.ready);
  const theme = document.getElementById('theme');
  const color = () => getComputedStyle(document.body).backgroundColor;
  const before = color();
  theme.click();
  check('dark', color() !== before && root.dataset.theme);
  theme.click();
  check('light', color() === before);
  const slide = (input, value) => {
    input.value = value;
    input.dispatchEvent(new Event('input'));
  };
  const sheets = document.querySelector('.sheets');
  const input = sheets.querySelector('input');
  const figures = [...sheets.querySelectorAll('figure')];
  const shown = () => figures.filter((f) => !f.hidden);
  slide(input, 0);
  check('first sheet', shown().length === 1 && shown()[0].dataset.name === '2');
  slide(input, 1);
  check('last sheet', shown()[0].dataset.name === '4');
  const player = document.querySelector('.player');
  const canvases = () => [...player.querySelectorAll('canvas')];
  const colorAt = (c) => c.getContext('2d').getImageData(1, 1, 1, 1).data;
  const pixel = () => canvases().map((c) => [...colorAt(c)].slice(0, 3)).join(';');
  slide(player.querySelector('.frame'), 2);
  slide(player.querySelector('.checkpoint'), 0);
  check('frame 2 of checkpoint 1: ' + pixel(), pixel() === '2,0,0;2,1,0');
  slide(player.querySelector('.checkpoint'), 1);
  check('frame 2 of checkpoint 2: ' + pixel(), pixel() === '2,0,0;2,2,0');
  check('caption', player.querySelector('.checkpoint-label').textContent === 'epoch 2');
  const play = player.querySelector('.play');
  if (play.getAttribute('aria-pressed') === 'true') play.click();
  const frame = player.querySelector('.frame');
  play.click();
  const first = frame.value;
  for (let i = 0; i < 40 && frame.value === first; i++) await wait(50);
  check('plays', frame.value !== first);
  play.click();
  const chart = document.querySelector('svg[data-values]');
  chart.focus();
  chart.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' }));
  const readout = chart.parentElement.querySelector('.readout').textContent;
  check('readout', readout.includes('at 10'));
  check('width', root.scrollWidth <= root.clientWidth);
  root.dataset.probe = found.length ? found.join(' | ') : 'all well';
})();
</script>
"""


def make_player(*_):
    """A clip of three frames and two checkpoints, whose colors say which they are."""

    def frames(blue_of):
        image = np.zeros((4, 12, 3), np.uint8)
        for frame in range(3):
            image[:, 4 * frame : 4 * frame + 4] = frame, blue_of, 0
        return encode(image, 10_000).uri

    layer = dict(name='masked input', note='')
    steps = [
        dict(label=f'epoch {i}', note='', layers=[{**layer, 'uri': frames(i)}])
        for i in (1, 2)
    ]
    return [playing.Player('a.mp4', [5, 6, 7], 4, 4, frames(0), steps)], []


def open_page(path, *options):
    return subprocess.run(
        [
            *(CHROMIUM, '--headless=new', '--no-sandbox', '--disable-gpu'),
            *('--enable-logging=stderr', f'--user-data-dir={path.parent}/profile'),
            *(*options, path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium')
@pytest.mark.parametrize('width', [1280, 390])
def test_page_in_a_browser(work_dir, tmp_path, monkeypatch, width):
    monkeypatch.setattr(page.playing, 'make_players', make_player)
    page.write_report(work_dir, tmp_path / 'page.html', 1)
    text = (tmp_path / 'page.html').read_text()
    (tmp_path / 'probed.html').write_text(text.replace('</body>', f'{PROBE}</body>'))
    size = f'--window-size={width},900'
    done = open_page(
        tmp_path / 'probed.html', size, '--dump-dom', '--virtual-time-budget=20000'
    )
    assert 'data-probe="all well"' in done.stdout, done.stdout[:200]
    said = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    # The probe reads pixels.
    assert all('willReadFrequently' in line for line in said), said


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium')
def test_page_follows_the_system_and_keeps_still(work_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(page.playing, 'make_players', make_player)
    page.write_report(work_dir, tmp_path / 'page.html', 1)
    options = '--force-prefers-reduced-motion', '--dump-dom'
    done = open_page(tmp_path / 'page.html', *options, '--virtual-time-budget=5000')
    assert 'data-ready="true"' in done.stdout
    assert '>Pause<' not in done.stdout


PHONE = """
<iframe src="page.html" style="width: 390px; height: 844px"></iframe>
<script>
onload = () => {
  const nav = document.querySelector('iframe').contentDocument.querySelector('nav');
  const ends = [...nav.children].map((a) => a.getBoundingClientRect().right);
  document.body.dataset.probe = Math.max(...ends) <= 390 - 16 ? 'all well' : ends;
};
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium')
def test_all_sections_are_named_on_a_phone(work_dir, tmp_path, monkeypatch):
    """In a frame: a window of chromium is at least 500 pixels wide."""
    monkeypatch.setattr(page.playing, 'make_players', make_player)
    page.write_report(work_dir, tmp_path / 'page.html', 1)
    (tmp_path / 'phone.html').write_text(PHONE)
    options = '--allow-file-access-from-files', '--dump-dom'
    done = open_page(tmp_path / 'phone.html', *options, '--virtual-time-budget=5000')
    assert 'data-probe="all well"' in done.stdout, done.stdout[-300:]
