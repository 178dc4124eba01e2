# One line per command; pass options with ARGS:  make train ARGS="--model deep".
# The first target that needs it makes the virtual environment; the later ones start at once.

PYTHON ?= python3
VENV   ?= .venv
SEEDS  ?= 1
ONLY   ?=
HOST   ?= 127.0.0.1
PORT   ?= 8080
ARGS   ?=
TARGET ?= serve
MODEL  ?=
BASE   ?=
IMAGE  ?= cnn-model-service:$(TARGET)
ENGINE ?= $(shell for each in docker podman buildah; do $$each info >/dev/null 2>&1 && echo $$each && break; done)

RUN   := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTEST := $(RUN) -m pytest --numprocesses 2
# The variables are each engine's own: docker's builder that has secrets; a format that has HEALTHCHECK, and caching.
BUILD = DOCKER_BUILDKIT=1 BUILDAH_FORMAT=docker BUILDAH_LAYERS=true $(ENGINE) build --tag $(IMAGE)
BAKED := artifacts/image
REVISION = $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown)
OR_NONE := || [ $$? = 5 ]  # a part of the tests may have none that ARGS selects

.DEFAULT_GOAL := help
.PHONY: help install train import tune study serve predict test test-light test-slow test-long check format bench image image-test clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Pass options with ARGS: make train ARGS="--model deep --epochs 10"; make train ARGS=--help lists them.'

install: $(STAMP)  ## make the virtual environment and install into it

train: $(STAMP)  ## train, evaluate and push a model
	@$(RUN) -m trainer $(ARGS)

import: $(STAMP)  ## push a model that another trainer made: make import ARGS="PATH --classes FILE --name NAME"
	@$(RUN) -m trainer import $(ARGS)

tune: $(STAMP)  ## search learning rates, optimizers and models; push the best
	@$(RUN) -m tuning $(ARGS)

study: $(STAMP)  ## run the paper's experiments and write a report: make study SEEDS=3; ARGS=--write-results also writes RESULTS.md
	@$(RUN) -m study --seeds "$(SEEDS)" --only "$(ONLY)" $(ARGS)

serve: $(STAMP)  ## serve the pushed models on HOST:PORT (127.0.0.1:8080)
	@exec env HOST=$(HOST) PORT=$(PORT) $(RUN) -m serving $(ARGS)

predict: $(STAMP)  ## classify files without a server: make predict ARGS="PATH... --out predictions.csv"
	@$(RUN) -m serving.predict $(ARGS)

test: test-light  ## run the tests: first those that need no TensorFlow, then those that do
	@$(PYTEST) --dist loadfile -m "tensorflow and not slow and not image" $(ARGS) $(OR_NONE)

test-light: $(STAMP)  ## run the tests that need no TensorFlow, with TensorFlow made unavailable
	@PYTHONPATH="$(CURDIR)/tests/no_tensorflow:$$PYTHONPATH" $(PYTEST) --dist loadfile -m "not tensorflow and not slow and not image" $(ARGS) $(OR_NONE)

test-slow: $(STAMP)  ## run the tests that start many processes
	@$(PYTEST) -m "slow and not long" $(ARGS)

test-long: $(STAMP)  ## run the tests that take minutes each
	@$(PYTEST) -m long $(ARGS)

check: $(STAMP)  ## check format, lint and types
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

format: $(STAMP)  ## format the code in place
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

bench: $(STAMP)  ## run a benchmark: make bench ARGS="training --rounds 3"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	@$(RUN) -m benchmarks.$(or $(ARGS),training)

image:  ## build a container image: TARGET=serve, serve-lite or train; MODEL=artifacts/models/NAME includes a model
	@[ "$(ENGINE)" ] || { echo "error: docker, podman or buildah must be installed and working. Received: none." >&2; exit 2; }
	@$(if $(MODEL),$(PYTHON) -m deploy.bake $(MODEL) $(BAKED))
	@$(BUILD) --target $(TARGET) $(if $(BASE),--build-arg BASE=$(BASE)) --label org.opencontainers.image.revision=$(REVISION) $(ARGS) .
	@$(if $(MODEL),$(BUILD) --build-arg IMAGE=$(IMAGE) $(BAKED))

image-test: $(STAMP)  ## build the images with buildah and run them, without a container engine
	@$(RUN) -m pytest -m image -s --timeout 2400 $(ARGS) tests/deploy/test_image.py

clean:  ## remove the virtual environment and caches; artifacts/ stays
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "error: Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing). Name another with PYTHON=python3.12." >&2; exit 2; }
	@echo "Installing into $(VENV); this happens once and takes some minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[train,tune,study,serve,dev]"
	@touch $@
