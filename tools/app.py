"""Show a page in the browser: a video in, what the model says of it out.

Needs Gradio (pip install gradio). Only this machine can open the page, unless
--host says otherwise. Ctrl-C ends it.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import add_cfg_options, whole_number
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config of the model')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen at (default: 127.0.0.1)'
    )
    parser.add_argument(
        '--port', type=whole_number(1, 65535), default=7860, help='(default: 7860)'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from tempfile import TemporaryDirectory

    from projects.adamae import launch
    from projects.adamae.apis.app import build_page
    from projects.adamae.apis.inferencer import AdaMAEInferencer
    from projects.adamae.utils import cpu

    kinds = FileNotFoundError, ValueError, ImportError, OSError
    with (
        launch.errors_in_one_line(*kinds),
        cpu.onednn(),
        TemporaryDirectory(prefix='adamae_app_') as folder,
    ):
        cfg = launch.load_config(args)
        inferencer = AdaMAEInferencer(cfg, args.checkpoint, show_progress=False)
        page = build_page(inferencer, Path(folder))
        page.launch(
            server_name=args.host, server_port=args.port, allowed_paths=[folder]
        )


if __name__ == '__main__':
    with ends_in_one_line():
        main()
