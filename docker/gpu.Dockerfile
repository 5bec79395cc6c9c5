# Training on NVIDIA GPUs: PyTorch's package brings CUDA, the machine the driver and the
# NVIDIA Container Toolkit. From the root of the repository:
#   docker build -f docker/gpu.Dockerfile -t adamae:gpu .
#   docker run --rm -it --gpus all --shm-size=16g -v /path/to/data:/adamae/data \
#       -v "$PWD/work_dirs:/adamae/work_dirs" adamae:gpu
# Behind a mirror of PyPI: --build-arg PIP_INDEX_URL=https://...
FROM python:3.11-slim-bookworm

# OpenCV's libraries; a compiler for torch.compile; git for the state of the code in
# run.json.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        build-essential git libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /adamae

# Before the code, so that a change of it does not install everything again.
ARG PIP_INDEX_URL=https://pypi.org/simple
COPY requirements requirements
RUN pip install "$(grep '^torch==' requirements/constraints.txt)" \
    && pip install -c requirements/constraints.txt 'setuptools<81' \
    && pip install -c requirements/constraints.txt -r requirements/dev.txt

COPY . .
RUN pip install --no-build-isolation --no-deps -e .

CMD ["bash"]
