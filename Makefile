# One virtual environment for everything; every target makes what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= 2
PHOTOS := src/facewright/assets/photos

.PHONY: help demo test slow test-gpu lint format docs validate-glb bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"expected Python 3.11 or newer, received " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[fast]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[fast,import,onnx,train,video,view,serve,dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	@touch $@

demo: $(VENV)/.run  ## reconstruct the bundled portraits into out/
	$(BIN)/facewright reconstruct $(PHOTOS)/astronaut.jpg $(PHOTOS)/grace_hopper.jpg --out out
	@echo "Open out/astronaut_mesh.png and out/astronaut.glb (any glTF viewer, Blender: File > Import > glTF)."

test: $(VENV)/.dev  ## run the tests (CPU, no downloads)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=15

slow: $(VENV)/.dev  ## run the tests that take minutes
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -m slow --timeout=1800 --durations=15

test-gpu: $(VENV)/.dev  ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu --timeout=600 --durations=15

lint: $(VENV)/.dev  ## ruff, format, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/codespell

format: $(VENV)/.dev  ## let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

validate-glb: $(VENV)/.dev  ## check GLB files with the Khronos validator (needs node and npm)
	npm install --silent --no-audit --no-fund --prefix build/gltf gltf-validator
	GLTF_VALIDATOR_DIR=$(CURDIR)/build/gltf $(BIN)/python -m pytest tests/export/test_glb_validator.py -m slow

bench: $(VENV)/.dev  ## timings as ratios within one run
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## remove what the targets made
	rm -rf $(VENV) out site .pytest_cache .ruff_cache .benchmarks
