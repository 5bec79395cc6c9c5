import os
import re
from html.parser import HTMLParser

import pytest

from projects.adamae import reporting
from projects.adamae.reporting.curves import Curve, read_curves
from projects.adamae.reporting.work_folder import read_run
from tests.helpers import run_tool
from tests.reporting.runs import (
    CONFIG,
    step,
    write_pictures,
    write_start,
    write_test,
)

VOID = {'meta', 'img', 'input', 'br', 'link', 'hr'}
NAMES = ['<script>alert(1)</script>', 'größer "als" \u2603']


class Page(HTMLParser):
    """Checks that elements are closed, and keeps texts and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids, self.text = [], [], [], ''
        self.elements = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        attrs = dict(attrs)
        assert not any(name.startswith('on') for name in attrs), attrs
        self.ids += [attrs['id']] if 'id' in attrs else []
        self.addresses += [attrs[k] for k in ('src', 'href') if k in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('script', 'style'):
            self.text += data


def read_page(path):
    assert path.stat().st_size <= reporting.MAX_BYTES
    text = path.read_text('utf-8')
    page = Page(text)
    assert len({*page.ids}) == len(page.ids)
    for address in page.addresses:
        is_anchor = address == '#' or address.removeprefix('#') in page.ids
        assert is_anchor or address.startswith('data:image/'), address
    assert not re.search(r'url\(|@import|src\s*=\s*"?http', text)
    return page


def test_page_of_a_pretraining(work_dir):
    before = {*work_dir.rglob('*')}
    run_tool('report', work_dir, '--clips', 0)
    out = work_dir / 'report.html'
    assert {*work_dir.rglob('*')} == before | {out}
    page = read_page(out)
    assert 'my run' in page.text
    for said in (
        *('AdaptiveSamplerHead', 'configs/mine.py', 'found 64 videos', '2.13.0'),
        *(
            'Diagnosis',
            '2 processes',
            'commit 0123abcd, with changes',
            '2 min 18 s in 2 starts',
            '5.0% of a step',
            '160',
        ),
        *('odd <b>thing</b>', '(4 times)', 'masking/enrichment', 'drawn.png'),
        *('40 iterations, 4 epochs of 4', 'line 7', 'No healthy runs of this recipe'),
    ):
        assert said in page.text, said
    assert page.elements.count('img') == 4
    assert 'b' not in page.elements


def test_resumed_run_is_drawn_once(work_dir):
    curves = read_run(work_dir).curves
    loss = [(10, 1.0), (20, 0.5), (30, 10 / 3), (40, 2.5)]
    assert curves.by_name['loss'] == Curve('iterations', loss)
    assert curves.by_name['masking/enrichment'] == Curve('epochs', [(2, 1.1)])
    assert curves.by_name['health/rankme'].unit == 'epochs'
    assert curves.by_name['health/top5_share'] == Curve('iterations', [(20, 0.1)])
    assert {y for _, y in curves.by_name['time'].points} == {0.2}
    assert curves.resumed_at == [30]
    assert curves.steps_per_epoch == 10


def test_run_that_was_started_over_has_nothing_of_the_first(tmp_path):
    write_start(tmp_path, '1', [step(i, i, 1.0, old=1) for i in (1, 2, 3)])
    write_start(tmp_path, '2', [step(1, 1, 5.0)])
    curves = read_run(tmp_path).curves
    assert curves.by_name['loss'].points == [(1, 5.0)]
    assert 'old' not in curves.by_name and curves.resumed_at == []


def test_unfinished_epoch_is_not_taken_for_a_whole_one(tmp_path):
    write_start(tmp_path, '1', [step(5, 1, 1.0)])  # the log says: of 10
    run_tool('report', tmp_path, '--clips', 0)
    assert '5 iterations, 0.5 epochs of 4' in read_page(tmp_path / 'report.html').text


def test_loop_by_iteration_has_no_epochs(tmp_path):
    records = [step(i, 0, 1.0) for i in (1, 2)] + [{'acc/top1': 0.5, 'step': 2}]
    for record in records:
        record.pop('epoch', None)
    write_start(tmp_path, '1', records)
    curves = read_run(tmp_path).curves
    assert curves.by_name['acc/top1'] == Curve('iterations', [(2, 0.5)])
    assert curves.steps_per_epoch is None


@pytest.mark.parametrize(
    'line',
    ['{"loss": 1', '[1]', '1', '{"loss": 1}', '{"step": "a"}', '{"step": NaN}', '\0'],
)
def test_damaged_lines_are_left_out_and_named(tmp_path, line):
    vis_data = write_start(tmp_path, '1', [step(1, 1, 1.0)], end=line)
    curves = read_curves([vis_data / 'scalars.json'])
    assert curves.by_name['loss'].points == [(1, 1.0)]
    assert '1 line of scalars.json' in curves.notes[0]


def test_values_that_are_not_finite_are_said(work_dir, tmp_path):
    nan = [step(1, 1, float('nan')), step(2, 1, float('inf'))]
    write_start(tmp_path / 'nan', '1', nan)
    run_tool('report', tmp_path / 'nan', '--out', tmp_path / 'a.html')
    page = read_page(tmp_path / 'a.html')
    assert 'loss: 2 values are NaN or infinite and not drawn' in page.text


def test_folders_of_other_programs_have_a_page_or_an_error(tmp_path):
    config = "model = 'x'\ntrain_cfg = [1]\ntrain_dataloader = 1\n"
    rows = [step(1, 1, 1.0), step(2, 1, 1e308), step(3, 1, -1e308), step(1e308, 1, 1.0)]
    start = write_start(tmp_path, '1', rows, config=config).parent
    (start / 'run.json').write_text('{"schema": 1, "code": {"projects.adamae": "x"}}')
    (start / 'other.log').mkdir()
    run_tool('report', tmp_path)
    page = read_page(tmp_path / 'report.html')
    assert 'diagnosis: ' in page.text and 'line 4' in page.text


def test_long_run_has_a_small_page(tmp_path):
    records = (step(50 * i, 1 + i // 10, float(i % 7)) for i in range(1, 5000))
    write_start(tmp_path, '1', records)
    run_tool('report', tmp_path, '--clips', 0)
    assert (tmp_path / 'report.html').stat().st_size < 200_000
    read_page(tmp_path / 'report.html')


def test_pictures_are_made_smaller_or_left_out_with_a_note(work_dir):
    names = [f'big{i}' for i in range(13)]
    write_pictures(work_dir / 'pictures', names, size=(300, 200))
    (work_dir / 'pictures/a_broken.png').write_bytes(b'no picture')
    run_tool('report', work_dir, '--clips', 0)
    page = read_page(work_dir / 'report.html')
    for said in ('gallery: 12 of 16 pictures', '% of its size', 'a_broken.png: '):
        assert said in page.text


def test_classifier_with_hostile_names(tmp_path, work_dir):
    odd = os.fsdecode(b'videos/caf\xe9\x1b[31m<img src=x onerror=alert(1)>.mp4')
    paths = ['a.mp4', odd, *(f'videos/{i}.mp4' for i in range(6))]
    write_test(work_dir / '20261127_040000' / 'report', NAMES, paths)
    metrics = '{"acc/top1": 0.5, "time": 1.0, "unreadable": null}'
    (work_dir / '20261127_040000/20261127_040000.json').write_text(metrics)
    run_tool('report', work_dir, '--clips', 0)
    page = read_page(work_dir / 'report.html')
    for said in (*NAMES, 'Confusion matrix', 'acc/top1 0.5', 'highest loss'):
        assert said in page.text, said
    assert '\x1b' not in page.text and 'x1b[31m<img src=x' in page.text
    assert page.elements.count('script') == 1


def test_many_classes_are_a_picture(tmp_path):
    names = [f'class {i}' for i in range(60)]
    write_test(tmp_path / 'run/1/report', names, [f'{i}.mp4' for i in range(120)])
    run_tool('report', tmp_path / 'run', '--out', tmp_path / 'deep/page.html')
    page = read_page(tmp_path / 'deep/page.html')
    assert page.elements.count('img') == 1 and 'Most often confused' in page.text


def test_report_of_a_test_that_is_damaged_is_named(work_dir, capsys):
    write_test(work_dir / '1' / 'report', NAMES, ['a', 'b'])
    (work_dir / '1/report/classes.csv').write_text('label\n1\n')
    run_tool('report', work_dir, '--clips', 0)
    assert 'expected the files of a report of tools/test.py' in capsys.readouterr().out
    read_page(work_dir / 'report.html')


def test_config_is_read_and_not_run(tmp_path):
    code = f'import os\nopen({str(tmp_path / "ran")!r}, "w")\n'
    write_start(tmp_path / 'run', '1', [step(1, 1, 1.0)], config=code)
    run_tool('report', tmp_path / 'run')
    assert not (tmp_path / 'ran').exists()
    page = read_page(tmp_path / 'run/report.html')
    assert 'the config that the run wrote down cannot be read' in page.text


def test_clips_that_cannot_be_shown_leave_a_note(work_dir):
    (work_dir / 'epoch_4.pth').write_bytes(b'no checkpoint')
    run_tool('report', work_dir)
    page = read_page(work_dir / 'report.html')
    assert 'masks over playing clips: ' in page.text


@pytest.mark.parametrize('kind', ['missing', 'empty', 'file', 'above'])
def test_no_run_is_one_line(tmp_path, work_dir, capsys, kind):
    folder = tmp_path / kind
    if kind == 'empty':
        folder.mkdir()
    elif kind == 'file':
        folder.write_text('')
    elif kind == 'above':
        folder = tmp_path
    with pytest.raises(SystemExit) as done:
        run_tool('report', folder)
    assert done.value.code == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and str(folder) in error
    assert ('did you mean' in error) == (kind == 'above')
    assert not (folder / 'report.html').exists()


def test_other_files_are_not_replaced(work_dir, tmp_path, capsys):
    out = tmp_path / 'notes.html'
    out.write_text('mine')
    with pytest.raises(SystemExit):
        run_tool('report', work_dir, '--out', out)
    assert out.read_text() == 'mine' and '--out' in capsys.readouterr().err
    for _ in range(2):  # an earlier report is
        run_tool('report', work_dir, '--out', tmp_path / 'b.html', '--clips', 0)


def test_folder_without_curves_has_a_page(work_dir):
    for file in work_dir.glob('*/vis_data/scalars.json'):
        file.unlink()
    run_tool('report', work_dir, '--clips', 0)
    page = read_page(work_dir / 'report.html')
    assert 'Curves' not in page.text and CONFIG.splitlines()[0] in page.text
