"""Properties of what reads files and text that others have written.

The suite tries a few dozen cases of each, always the same ones, and those that ever
failed (``@example``). A long run, with new cases every time, is

    FUZZ_EXAMPLES=12000 python -m pytest -q tests/fuzz
"""

import os
import sys
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

from projects.adamae.utils.safe_loading import CheckpointMismatch

EXAMPLES = os.environ.get('FUZZ_EXAMPLES')
#: Of every property.
fuzz = settings(
    max_examples=int(EXAMPLES or 25),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[*HealthCheck],
)
# What no file may make a program do. Reading one may import modules of ours, which is
# why running code as such is not among them.
_EVENTS = ('os.', 'subprocess.', 'shutil.', 'socket.', 'pickle.', 'ctypes.', 'ftplib.')
_HARMLESS = ('os.listdir', 'os.scandir', 'os.walk', 'os.putenv', 'os.unsetenv')
_seen = None


def _watch(event, arguments):
    if _seen is not None and event.startswith(_EVENTS) and event not in _HARMLESS:
        _seen.append((event, arguments))


sys.addaudithook(_watch)


@contextmanager
def documented(*allowed_events):
    """Fail on errors other than the documented ones, of one line, and on deeds."""
    global _seen
    _seen = events = []
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        assert type(error) in (ValueError, FileNotFoundError, CheckpointMismatch), text
        assert text and text.replace('\t', '').isprintable(), text
    finally:
        _seen = None
    assert not [event for event in events if event[0] not in allowed_events]
