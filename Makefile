# The only commands anyone needs; people and CI run the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast serve check format train docs bench lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(VENV)/dev.done  ## the environment with every tool, from nothing

demo: $(VENV)/run.done  ## POST a clip to a fresh server, print its answers beside the truth
	@$(BIN)/python -m clients demo

# A process per core and one more, of one thread each; modules are compiled once for all of them.
# What sets more threads must not have them spin while they wait: others need the cores.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadgroup

test: $(VENV)/dev.done  ## all tests
	@$(PYTEST)

test-fast: $(VENV)/dev.done  ## the tests without servers, Ray, browser, database and long training
	@$(PYTEST) -m 'not slow and not service'

serve: $(VENV)/run.done  ## the server with the shipped bundle, until Ctrl-C
	@$(BIN)/python -m server

check: $(VENV)/dev.done  ## lint and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile

format: $(VENV)/dev.done  ## sort imports, lay out code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

train: export OMP_WAIT_POLICY := passive
train: $(VENV)/run.done  ## the shipped bundle again, from nothing
	@$(BIN)/python -m model.train

docs: $(VENV)/dev.done  ## the documents as a site, in work/site
	@$(BIN)/python -m mkdocs build --strict

bench: $(VENV)/run.done  ## every speed figure, side by side
	@for name in latency reasoning training trunk encoder decode extract; do $(BIN)/python -m bench $$name || exit 1; done

# uv is only the installer: it checks the same hashes as pip and takes seconds instead of minutes.
$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in ((3, 11), (3, 12)) and \
		f"Python 3.11 or 3.12 is needed, {v[0]}.{v[1]} found: make PYTHON=python3.11 ...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/%.done: requirements/%.txt $(BIN)/uv
	@echo "installing $< into $(VENV) (once: 5 GB, some minutes)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/build.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-build-isolation --require-hashes -r $<
	@touch $@

COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header

lock: $(BIN)/uv  ## pin the newest versions the ranges admit, with hashes
	$(COMPILE) --constraint requirements/constraints.txt --extra dev --extra docs --extra hub \
		--extra scale --extra encoders pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt pyproject.toml --output-file requirements/run.txt
	$(COMPILE) --constraint requirements/dev.txt --extra scale pyproject.toml \
		--output-file requirements/scale.txt
	$(COMPILE) --constraint requirements/dev.txt --extra encoders pyproject.toml \
		--output-file requirements/encoders.txt
	printf 'faiss-gpu>=1.15,<2\nonnxruntime-gpu>=1.31,<2\n' | $(COMPILE) - \
		--constraint requirements/run.txt --output-file requirements/gpu.txt
	echo 'uv' | $(COMPILE) - --output-file requirements/uv.txt
	echo 'setuptools' | $(COMPILE) - --constraint requirements/dev.txt --output-file requirements/build.txt

notices: $(VENV)/dev.done  ## THIRD_PARTY_NOTICES.md and sbom.cdx.json, from what is installed
	@$(BIN)/python -m docsite.notices

clean:  ## remove the environment and caches; work/ and weights/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
