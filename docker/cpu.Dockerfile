# Tests, the demo and inference on CPUs. From the root of the repository:
#   docker build -f docker/cpu.Dockerfile -t adamae:cpu .
#   docker run --rm -it --shm-size=2g adamae:cpu make demo
# Behind a mirror: --build-arg TORCH_INDEX=https://... (PyTorch's CPU builds) and
# --build-arg PIP_INDEX_URL=https://... (all else).
FROM python:3.11-slim-bookworm

# OpenCV's libraries; make for the Makefile, git for the state of the code in run.json.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libgl1 libglib2.0-0 make \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /adamae

# Before the code, so that a change of it does not install everything again. torch and
# torchvision must be of one build; the versions are those of constraints.txt.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PIP_INDEX_URL=https://pypi.org/simple
COPY requirements requirements
RUN pins="$(grep -E '^(torch|torchvision)==' requirements/constraints.txt)" \
    && pip install --index-url "$TORCH_INDEX" $pins \
    && pip install -c requirements/constraints.txt 'setuptools<81' \
    && pip install -c requirements/constraints.txt -r requirements/dev.txt

COPY . .
RUN pip install --no-build-isolation --no-deps -e .
# What `make` would make otherwise.
RUN mkdir -p .venv/bin && ln -s "$(command -v python)" .venv/bin/python \
    && touch .venv/.installed

CMD ["bash"]
