"""Shared fixtures: tiny models and tiny videos."""

import pytest

import projects.adamae  # noqa: F401  registers the components, before anything else


def pytest_addoption(parser):
    parser.addoption('--runslow', action='store_true', help='run slow tests too')


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: minutes long; needs --runslow')


def pytest_collection_modifyitems(config, items):
    if config.getoption('--runslow'):
        return
    for item in items:
        if 'slow' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='slow: needs --runslow'))
