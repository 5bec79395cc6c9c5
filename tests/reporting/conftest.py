import pytest

from tests.reporting.runs import step, write_pictures, write_start


@pytest.fixture
def work_dir(tmp_path):
    """A pre-training of two starts, with pictures."""
    folder = tmp_path / 'my run'
    first = [step(10 * i, i, 1 / i, sampler_entropy=0.9) for i in (1, 2, 3)]
    first += [{'masking/enrichment': 1.1, 'time': 9.0, 'data_time': 9.0, 'step': 2}]
    first += [{'health/top5_share': 0.1, 'step': 20}, {'health/rankme': 5.0, 'step': 2}]
    write_start(folder, '20261127_020011', first, end='{"loss": 0.')
    second = [step(10 * i, i, 10 / i, sampler_entropy=0.8) for i in (3, 4)]
    for i in (0, 1):
        second.append({f'health/probability_time_{i}': 1.0 + i, 'step': 40})
    vis_data = write_start(folder, '20261127_030000', second)
    sheets = ('masked_video_0_2', 'masked_video_0_4', 'other_7')
    write_pictures(vis_data / 'vis_image', sheets)
    write_pictures(folder / 'pictures', ('drawn',))
    return folder
