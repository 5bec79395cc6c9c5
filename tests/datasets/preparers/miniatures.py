"""Published data sets in miniature: their real layouts and files, a few tiny videos.

Each has what any copy may have: a missing video, one that no annotation names, one that
is named twice, a class without videos. Other defects are planted by name.

    python -m tests.datasets.preparers.miniatures ssv2 /tmp/x [DEFECT]
"""

import csv
import json
import sys
from pathlib import Path

import av
import numpy as np

_ENCODERS = {
    '.webm': ('libvpx-vp9', {'cpu-used': '8', 'deadline': 'realtime'}),
    '.avi': ('mpeg4', {}),
}


def write_clip(path, frames=12, size=(48, 64), fps=12):
    """Write a video of a moving texture that depends on the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    image = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    image = image.repeat(8, axis=0).repeat(8, axis=1)
    encoder, options = _ENCODERS.get(path.suffix, ('libx264', {'preset': 'ultrafast'}))
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(encoder, rate=fps, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.thread_count = 1
        for i in range(frames):
            moved = np.roll(image, 2 * i, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, 'rgb24')))
        container.mux(stream.encode())


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding='utf-8')
    return path


SSV2_LABELS = {
    # Not in the order of their numbers, which are strings, as published.
    'Putting something on a surface': '1',
    'Approaching something with your camera': '0',
    'Showing that something is empty': '3',
    'Pushing something from left to right': '2',
}


def ssv2(root, defect='', prefix='something-something-v2-', suffix='.webm'):
    """Something-Something v2: class 3 has no video."""
    videos, labels = root / '20bn-something-something-v2', root / 'labels'
    for name in (1, 2, 3, 4, 5, 77, 99):
        write_clip(videos / f'{name}{suffix}')

    def entry(name, template, thing='a pen'):
        label = template.replace('[something]', thing)
        text = dict(id=str(name), label=label, template=template)
        return text | dict(placeholders=[thing])

    train = [
        entry(1, 'Putting [something] on a surface'),
        entry(2, 'Approaching [something] with your camera'),
        entry(3, 'Pushing [something] from left to right'),
        entry(1, 'Putting [something] on a surface'),
        entry(6, 'Putting [something] on a surface'),
    ]
    val = [
        entry(4, 'Pushing [something] from left to right'),
        entry(8, 'Approaching [something] with your camera'),
    ]
    test = [dict(id='5'), dict(id='9')]
    if defect == 'two splits':
        val.append(entry(2, 'Approaching [something] with your camera'))
    if defect == 'two labels':
        train.append(entry(2, 'Putting [something] on a surface'))
    if defect == 'misspelled':
        train.append(entry(77, 'Puting [something] on a surface'))
    if defect == 'two files':
        write_clip(videos / '1.mp4')
    numbers = dict(SSV2_LABELS)
    if defect == 'numbers':
        numbers['Showing that something is empty'] = '7'
    if defect == 'wrong file':
        train = dict(annotations=1)
    if defect == 'test as train':
        train = test
    _write(labels / f'{prefix}labels.json', numbers)
    if defect != 'no train':
        _write(labels / f'{prefix}train.json', train)
    _write(labels / f'{prefix}validation.json', val)
    _write(labels / f'{prefix}test.json', test)
    if defect == 'answers':
        _write(labels / 'test-answers.csv', '5;Pushing [something] from left to right')
    return videos, [labels]


def kinetics(root, defect='', layout='by class'):
    """Kinetics: ``layout`` is 'by class', 'flat' or 'by split'."""
    rows = [
        ('air drumming', '-3B32lodo2M', 59, 69, 'train'),
        ('air drumming', '_a_b_c_d_e_', 0, 10, 'train'),
        ('zumba', 'zumbazumba1', 5, 15, 'train'),
        ('zumba', 'zumbazumba1', 105, 115, 'train'),  # of the same film
        ("massaging person's head", 'massagemas1', 1, 11, 'train'),
        ("massaging person's head", 'missingmis1', 1, 11, 'train'),
        ('abseiling', 'missingmis2', 1, 11, 'train'),
        ('zumba', 'zumbazumba1', 5, 15, 'train'),
        ('zumba', 'validvalid1', 20, 30, 'val'),
        ('abseiling', 'missingmis3', 1, 11, 'val'),
        ('', 'testtestte1', 417, 427, 'test'),
    ]
    if defect == 'two splits':
        rows.append(('air drumming', '-3B32lodo2M', 59, 69, 'val'))
    if defect == 'misspelled':
        rows.append(('zumbaa', 'validvalid2', 20, 30, 'val'))
    if defect == 'other folder':
        write_clip(root / 'videos/train/zumba/massagemas2_000001_000011.mp4')
        rows.append(("massaging person's head", 'massagemas2', 1, 11, 'train'))
    if defect == 'no label':
        rows.append(('', 'validvalid2', 20, 30, 'train'))
    if defect == 'times':
        rows.append(('zumba', 'validvalid2', 'x', 30, 'train'))
    for label, name, start, end, split in rows:
        if name.startswith('missing') or name.endswith('2'):
            continue
        times = f'_{start:06}_{end:06}'
        if layout == 'flat':  # unpadded, or without times where there is but one clip
            times = '' if name == '-3B32lodo2M' else f'_{start}_{end}'
            folder = Path()
        elif layout == 'by split':
            folder = Path(f'videos_{split}')
        else:
            folder = Path(split, label.replace(' ', '_'))
        path = root / 'videos' / folder / f'{name}{times}.mp4'
        if not path.exists():
            write_clip(path)
    write_clip(root / 'videos/unlisted_un_000001_000011.mp4')
    if defect == 'replacement':
        folder = 'replacement/replacement_for_corrupted_k400'
        write_clip(root / f'videos/{folder}/-3B32lodo2M_000059_000069.mp4')
    for split in ('train', 'val', 'test'):
        path = root / f'annotations/{split}.csv'
        path.parent.mkdir(exist_ok=True)
        columns = ['label', 'youtube_id', 'time_start', 'time_end', 'split', 'is_cc']
        first = int(split == 'test')  # test sets have no label
        if defect == 'no train' and split == 'train':
            continue
        with open(path, 'w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(columns[first:])
            for row in rows:
                if row[4] == split:
                    name = 'validate' if split == 'val' else split
                    writer.writerow([*row[first:4], name, 0])
    return root / 'videos', [root / 'annotations']


def ucf101(root, defect=''):
    """UCF101: one of its classes has names that are spelled in two ways."""
    videos, lists = root / 'UCF-101', root / 'ucfTrainTestlist'
    classes = ['ApplyEyeMakeup', 'HandstandPushups', 'YoYo']
    train = [
        'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1',
        'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1',
        'HandstandPushups/v_HandStandPushups_g09_c01.avi 2',
        'HandstandPushups/v_HandStandPushups_g10_c01.avi 2',
    ]
    test = [
        'ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi',
        'HandstandPushups/v_HandStandPushups_g01_c01.avi',
    ]
    for line in (*train[:3], *test):
        write_clip(videos / line.split()[0])
    write_clip(videos / 'YoYo/v_YoYo_g25_c01.avi')
    numbers = list(enumerate(classes, 1))
    if defect == 'numbers':
        numbers[2] = 4, 'YoYo'
    if defect == 'two splits':
        test.append(train[0].split()[0])
    if defect == 'other number':
        train[0] = train[0].replace(' 1', ' 2')
    if defect == 'misspelled':
        test.append('YoYoo/v_YoYo_g25_c01.avi')
    if defect == 'not a list':
        train.append('YoYo/v_YoYo_g25_c01.avi')
    train.append(train[0])
    _write(lists / 'classInd.txt', ''.join(f'{n} {c}\r\n' for n, c in numbers))
    for number in (1, 2, 3):
        swapped = number == 2
        one, two = ([t.split()[0] for t in train], [f'{t} 1' for t in test[:1]])
        if defect != 'no train' or swapped:
            _write(
                lists / f'trainlist{number:02}.txt',
                '\n'.join(two if swapped else train),
            )
        _write(lists / f'testlist{number:02}.txt', '\n'.join(one if swapped else test))
    return videos, [lists]


HMDB51_NAMES = {
    'brush_hair': '#122_Cleaning_(Up)!_The_Beach;_brush_hair_u_nm_np1_ba_goo_{}.avi',
    'cartwheel': "Rad_[schlagen]_&_It's_me_cartwheel_f_cm_np1_ba_bad_{}.avi",
    'wave': 'wave_{}.avi',
}


def hmdb51(root, defect=''):
    """HMDB51: videos 0 to 4 of each class; 5 is missing, ``wave`` has none."""
    videos, lists = root / 'hmdb51_org', root / 'testTrainMulti_7030_splits'
    for label, name in HMDB51_NAMES.items():
        for i in range(5 if label != 'wave' else 0):
            write_clip(videos / label / name.format(i))
        for fold in (1, 2, 3):
            codes = [1, 1, 2, 0, 1, 2] if fold == 1 else [2, 1, 1, 1, 0, 2]
            lines = [f'{name.format(i)} {code} ' for i, code in enumerate(codes)]
            if label == 'cartwheel' and fold == 1:
                lines.append(lines[0])
                if defect == 'two splits':
                    lines.append(f'{name.format(1)} 2 ')
                if defect == 'not a list':
                    lines.append(f'{name.format(1)} 3 ')
            if defect != 'no class' or (label, fold) != ('cartwheel', 1):
                text = '\n'.join(lines)
                _write(lists / f'{label}_test_split{fold}.txt', text)
    write_clip(videos / 'cartwheel/unlisted.avi')
    if defect == 'other folder':
        name = HMDB51_NAMES['cartwheel'].format(0)
        (videos / 'cartwheel' / name).rename(videos / 'brush_hair' / name)
    return videos, [lists]


def diving48(root, defect=''):
    """Diving48, version 2: class 2 has no video."""
    videos = root / 'rgb'
    vocabulary = [
        ['Back', '15som', '05Twis', 'FREE'],
        ['Back', '15som', '15Twis', 'FREE'],
        ['Inward', 'Dive', 'NoTwis', 'PIKE'],
    ]

    def entry(name, label):
        return dict(vid_name=name, label=label, start_frame=30, end_frame=127)

    train = [
        entry('_8Vy3dlHg2w_00000', 1),
        entry('_8Vy3dlHg2w_00001', 0),
        entry('_8Vy3dlHg2w_00001', 0),
        entry('2x00lRzlTVQ_00007', 0),
    ]
    test = [entry('-mBz7Uq9Jmk_00003', 1), entry('-mBz7Uq9Jmk_00004', 2)]
    for name in (train[0], train[1], test[0], entry('2x00lRzlTVQ_00009', 0)):
        write_clip(videos / f'{name["vid_name"]}.mp4')
    if defect == 'two splits':
        test.append(train[0])
    if defect == 'label':
        train.append(entry('2x00lRzlTVQ_00009', 3))
    if defect == 'two labels':
        train.append(entry('_8Vy3dlHg2w_00000', 0))
    names = dict(V2_train=train, V2_test=test, vocab=vocabulary)
    if defect == 'version 1':
        names = dict(train=train, test=test, vocab=vocabulary)
    for name, content in names.items():
        _write(root / f'Diving48_{name}.json', content)
    return videos, sorted(root.glob('*.json'))


BUILDERS = dict(
    ssv2=ssv2, kinetics=kinetics, ucf101=ucf101, hmdb51=hmdb51, diving48=diving48
)

if __name__ == '__main__':
    kind, folder, *defects = sys.argv[1:]
    videos, labels = BUILDERS[kind](Path(folder), *defects)
    print(f'{kind} --videos {videos} --labels {" ".join(map(str, labels))}')
