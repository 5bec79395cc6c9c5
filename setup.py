import os
import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# Installed as `adamae`: what MMEngine and mim look for, in front of projects.adamae.
PACKAGE = 'projects/adamae_package'
# What the package has in its folder .mim, where they look for configs and tools.
MIM = {'configs/adamae': ROOT / 'configs', 'tools': ROOT / 'tools'}
# Of a checkout only.
NOT_SHIPPED = (
    *('benchmarks', 'architecture.py', 'matrix.py', 'visualise.py'),
    '__pycache__',
)


def requirements(name: str) -> list[str]:
    """The lines of a requirements file, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text('utf-8').splitlines()
    return [line.split('#')[0].strip() for line in lines if line.split('#')[0].strip()]


class BuildWithMim(build_py):
    """Copies configs and tools into the package; links them if it is editable."""

    def run(self) -> None:
        if not self.editable_mode:
            # What an earlier build left there would be shipped, too.
            for name in ('adamae', 'projects'):
                shutil.rmtree(Path(self.build_lib, name), ignore_errors=True)
        super().run()
        package = (
            ROOT / PACKAGE if self.editable_mode else Path(self.build_lib, 'adamae')
        )
        for name, source in MIM.items():
            target = package / '.mim' / name
            if target.is_symlink():
                target.unlink()
            elif target.exists():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.editable_mode:
                target.symlink_to(os.path.relpath(source, target.parent))
            else:
                shutil.copytree(source, target, ignore=self.not_shipped)

    @staticmethod
    def not_shipped(folder: str, names: list[str]) -> list[str]:
        kinds = '.py', '.sh', '.yml'
        return [
            name
            for name in names
            if name in NOT_SHIPPED
            or not (Path(folder, name).is_dir() or name.endswith(kinds))
        ]


setup(
    name='adamae',
    version='0.1.0',
    description='Masked video pre-training with a learned mask (AdaMAE) for MMAction2',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10,<3.13',
    packages=[
        *find_namespace_packages(include=['projects*'], exclude=['*.adamae_package']),
        'adamae',
    ],
    package_dir={'adamae': PACKAGE},
    package_data={
        'adamae': ['.mim/model-index.yml'],
        'projects.adamae.reporting': ['bands.json', 'templates/*'],
    },
    cmdclass={'build_py': BuildWithMim},
    entry_points={'console_scripts': ['adamae = projects.adamae_command:main']},
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
