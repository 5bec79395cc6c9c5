from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of a requirements file, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text('utf-8').splitlines()
    return [line.split('#')[0].strip() for line in lines if line.split('#')[0].strip()]


setup(
    name='adamae-mmaction2',
    version='0.1.0',
    description='Masked video pre-training with a learned mask (AdaMAE) for MMAction2',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10,<3.13',
    packages=find_namespace_packages(include=['projects*']),
    package_data={'projects.adamae.reporting': ['bands.json', 'templates/*']},
    install_requires=requirements('runtime'),
    extras_require={
        # One of the two, and never both: they install the same modules.
        'lite': ['mmcv-lite>=2.0,<2.2'],
        'full': ['mmcv>=2.0,<2.2'],
        'tests': requirements('tests'),
        'app': requirements('app'),  # tools/app.py
        'export': requirements('export'),  # tools/export.py, files for ONNX
        'docs': requirements('docs'),  # the documentation site
    },
)
