PYTHON ?= python3
VENV ?= .venv

stamp := $(VENV)/.installed
python := $(VENV)/bin/python
pip := $(python) -m pip install --disable-pip-version-check
pins := requirements/constraints.txt
# Files of tests side by side, each process with one thread.
JOBS ?= 2
pytest := OMP_NUM_THREADS=1 $(python) -m pytest -n $(JOBS) --dist loadfile

.PHONY: help env test slow demo gallery lint docs links faults matrix clean

help:
	@echo 'make env    virtual environment in $(VENV), with everything in it'
	@echo 'make test   the tests                 make slow   the long ones too'
	@echo 'make demo   watch AdaMAE learn        make lint   style and types'
	@echo 'make gallery  a longer run, and the pictures of docs/gallery.md again'
	@echo 'make docs   the site, in build/docs   make links  try its links to elsewhere'
	@echo 'make faults kills, full disks and bad files against real runs: docs/reliability.md'
	@echo '            (an hour or two; ROWS="sigkill sigterm" repeats some)'
	@echo 'make matrix other versions of Python, torch, numpy, ...: docs/compatibility.md'
	@echo '            (minutes and gigabytes a row; ROWS="pinned numpy1" repeats some)'
	@echo 'make clean  remove what make made     (PYTHON=, VENV=, JOBS= to choose)'

env: $(stamp)

# The stamp is written last: an installation that broke off is done again.
$(stamp): setup.py pyproject.toml $(wildcard requirements/*.txt)
	@rm -f $@
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo 'expected Python 3.10 to 3.12, got $(PYTHON); set PYTHON=...' >&2; false; }
	$(PYTHON) -m venv $(VENV)
	$(pip) -c $(pins) setuptools
	# Alone and by its exact pin: see $(pins).
	$(pip) "$$(grep '^torch==' $(pins))"
	$(pip) -c $(pins) -r requirements/dev.txt
	$(pip) --no-build-isolation --no-deps -e .
	@touch $@

test: env
	$(pytest)

slow: env
	$(pip) --quiet --no-deps -r requirements/mim.txt
	$(pytest) --runslow

demo: env
	$(python) tools/demo.py

# The commands of the page, in its order.
gallery: env
	sed -n '/^```bash$$/,/^```$$/{/^```/!p}' docs/gallery.md | PATH="$(abspath $(VENV))/bin:$$PATH" sh -e

lint: env
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

# Warnings are errors: a link that leads nowhere, a name that is not there.
docs: env
	$(python) -m sphinx -q -W --keep-going docs build/docs
	@echo build/docs/index.html

# Needs the internet.
links: env
	$(python) -m sphinx -q -b linkcheck docs build/links

faults: env
	PYTHONPATH=. $(python) tools/benchmarks/faults.py $(ROWS)

matrix: env
	$(pip) --quiet uv
	$(python) tools/matrix.py $(ROWS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
