"""A page in the browser: a video in, what a model says of it out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..evaluation.ranking import name_of
from .inferencer import AdaMAEInferencer


def run_video(
    inferencer: AdaMAEInferencer, video: str, folder: Path
) -> tuple[str, dict[str, float]]:
    """Run a model on a video.

    Args:
        inferencer (AdaMAEInferencer): of any model.
        video (str): path.
        folder (Path): where a new folder with the files is made.

    Returns:
        tuple[str, dict[str, float]]: path of the overlay; probability of each class, by
        name, none from a masked autoencoder.

    Raises:
        ValueError: if the video cannot be read; one line.
    """
    out = Path(tempfile.mkdtemp(dir=folder))
    (found,) = inferencer([video], out_dir=out)['predictions']
    if found['error']:
        # Whoever looks at the page need not know where files lie.
        raise ValueError(found['error'].replace(video, Path(video).name))
    (overlay,) = out.glob('*.mp4')
    if inferencer.masks:
        return str(overlay), {}
    probabilities = found['probabilities'].tolist()
    return str(overlay), {
        name_of(label, inferencer.classes): probability
        for label, probability in enumerate(probabilities)
    }


def build_page(inferencer: AdaMAEInferencer, folder: Path) -> Any:
    """Build the page.

    Args:
        inferencer (AdaMAEInferencer): of any model.
        folder (Path): for overlays, while the page is there.

    Returns:
        gradio.Blocks: to be launched.

    Raises:
        ImportError: without Gradio; says how to install it.
    """
    try:
        import gradio
    except ImportError as error:
        raise ImportError('the page needs Gradio: pip install gradio') from error
    kind = 'looks at, sees and predicts' if inferencer.masks else 'takes a video for'

    def answer(video: str | None) -> Any:
        if video is None:
            raise gradio.Error('choose a video first')
        try:
            overlay, classes = run_video(inferencer, video, folder)
        except ValueError as error:
            raise gradio.Error(str(error)) from None
        return overlay if inferencer.masks else (classes, overlay)

    with gradio.Blocks(title='AdaMAE') as page:
        gradio.Markdown(f'# What this model {kind}')
        video = gradio.Video(label='video')
        button = gradio.Button('Run')
        outputs = [gradio.Video(label='overlay')]
        if not inferencer.masks:
            outputs.insert(0, gradio.Label(num_top_classes=5, label='classes'))
        button.click(answer, video, outputs)
    return page
