"""Which kinds of video files a loader reads exactly, and how fast.

Writes a file of every kind with the number of each frame in its pixels, reads the
SSv2 and K400 test views by PyAVSkipInit and PyAVSkipDecode and by decord, and prints
wrong frames and clips per second of processor time, of opening and decoding. From the
root of the repository: PYTHONPATH=. python tools/benchmarks/file_kinds.py
"""

import multiprocessing
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any
from unittest import mock

import numpy as np
from mmaction.registry import TRANSFORMS
from mmengine.registry import init_default_scope

import projects.adamae  # noqa: F401  registers the transforms
from tests import numbered_videos

HIDDEN = 20  # frames that the edit lists hide
HEVC = {'x265-params': 'log-level=none'}
OPEN = {'x265-params': 'log-level=none:keyint=24:bframes=3'}
# What to write: suffix, encoder, its options, further arguments.
KINDS: dict[str, tuple[str, str, dict[str, str], dict[str, Any]]] = {
    'H.264 in MP4, x264 defaults': ('mp4', 'libx264', {}, {}),
    'H.264 in MP4, a key frame every 12': ('mp4', 'libx264', {'g': '12'}, {}),
    'H.264 in MP4, no B-frames': ('mp4', 'libx264', {'bf': '0'}, {}),
    'H.264 in MP4, variable rate': (
        'mp4',
        'libx264',
        {'g': '25'},
        dict(times=np.cumsum(np.random.default_rng(0).integers(1500, 9000, 120))),
    ),
    'H.264 in MP4, interlaced': ('mp4', 'libx264', {'x264-params': 'tff=1'}, {}),
    'H.264 in Matroska': ('mkv', 'libx264', {}, {}),
    'H.264, open groups of pictures': (
        'mp4',
        'libx264',
        {'g': '12', 'x264-params': 'open-gop=1'},
        {},
    ),
    'H.264, cut by an edit list': ('mp4', 'libx264', {'g': '12'}, dict(shift=HIDDEN)),
    'H.264 in AVI': ('avi', 'libx264', {}, {}),
    'H.264 in AVI, no B-frames, key frames': (
        'avi',
        'libx264',
        {'bf': '0', 'g': '12'},
        {},
    ),
    'H.264 in a transport stream': ('ts', 'libx264', {'g': '15'}, {}),
    'HEVC in MP4, x265 defaults': ('mp4', 'libx265', HEVC, {}),
    'HEVC in Matroska, several open groups': ('mkv', 'libx265', OPEN, {}),
    'HEVC, cut by an edit list': ('mp4', 'libx265', HEVC, dict(shift=HIDDEN)),
    'VP9 in WebM': ('webm', 'libvpx-vp9', {'g': '15', 'cpu-used': '8'}, {}),
    'VP8 in WebM': ('webm', 'libvpx', {'g': '15', 'cpu-used': '8'}, {}),
    'AV1 in MP4': ('mp4', 'libsvtav1', {'preset': '12', 'svtav1-params': 'lp=1'}, {}),
    'MPEG-4 in MP4, no B-frames': ('mp4', 'mpeg4', {}, {}),
    'MPEG-4 in MP4, B-frames': ('mp4', 'mpeg4', {'bf': '2'}, {}),
    'MPEG-4 in AVI, B-frames': ('avi', 'mpeg4', {'bf': '2'}, {}),
    'MPEG-2 program stream': ('mpg', 'mpeg2video', {'bf': '2'}, {}),
    'MPEG-2 transport stream': ('ts', 'mpeg2video', {'bf': '2'}, {}),
    'WMV': ('wmv', 'wmv2', {}, {}),
    'MJPEG in AVI': ('avi', 'mjpeg', {'strict': '-1'}, {}),
}
VIEWS = dict(
    SSv2=dict(type='SegmentSampleFrames', clip_len=16, num_clips=2, test_mode=True),
    K400=dict(
        type='StridedSampleFrames',
        clip_len=16,
        frame_interval=4,
        num_clips=5,
        test_mode=True,
    ),
)


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--rounds', type=int, default=5, help='readings, best counts (default: 5)'
    )
    parser.add_argument(
        '--time-limit', type=int, default=60, help='seconds per file (default: 60)'
    )
    return parser.parse_args(argv)


def read(path: str, loader: str, first: int, rounds: int, queue: Any) -> None:
    """Send ``wrong of all, clips per second`` of both views, or an error."""
    init_default_scope('mmaction')
    cells = []
    for view in VIEWS.values():
        steps = [
            TRANSFORMS.build(step)
            for step in (dict(type=f'{loader}Init'), view, dict(type=f'{loader}Decode'))
        ]
        seconds = []
        for _ in range(rounds):
            begin = process_time()
            results: Any = dict(filename=path, start_index=0, modality='RGB')
            try:
                for step in steps:
                    results = step(results)
            except Exception as error:  # decord raises a class of its own
                queue.put(type(error).__name__)
                return
            seconds.append(process_time() - begin)
        shown = [numbered_videos.number_of(image) for image in results['imgs']]
        asked = results['frame_inds'] + first
        wrong = int((shown != asked).sum())
        rate = view['num_clips'] / min(seconds)
        cells.append(f'{wrong:>3} of {len(asked)}, {rate:6.1f}/s')
    queue.put('   '.join(cells))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    size = mock.patch.object(numbered_videos, 'SIZE', (240, 320))
    with size, tempfile.TemporaryDirectory() as folder:
        for kind, (suffix, encoder, options, further) in KINDS.items():
            path = Path(folder) / f'video.{suffix}'
            numbered_videos.write(path, encoder, options, frames=120, **further)
            for loader in ('PyAVSkip', 'Decord'):
                queue = multiprocessing.SimpleQueue()
                job = partial(read, str(path), loader, further.get('shift', 0))
                process = multiprocessing.Process(target=job, args=(args.rounds, queue))
                process.start()
                process.join(args.time_limit)
                result = 'crashed' if queue.empty() else queue.get()
                if process.is_alive():
                    result = f'hung for {args.time_limit} s'
                    process.kill()
                print(f'{kind:<38}{loader:<9} {result}', flush=True)


if __name__ == '__main__':
    main()
