"""Text that names of other people are part of."""

from projects.adamae.utils.text import printable, shorten, some


def test_printable():
    assert printable('走る\n\x1b[31m') == r'走る\n\x1b[31m'


def test_shorten():
    assert shorten('0123456789', 10) == '0123456789'
    assert shorten('0123456789a', 10) == '0123...89a'


def test_some():
    assert some([]) == ''
    assert some(['a\n', 'b'], 2) == r'a\n, b'
    assert some(range(4)) == '0, 1, 2, ...'
