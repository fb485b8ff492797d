# `make demo` and `make test` are all that a newcomer needs; both create the environment first.
.DEFAULT_GOAL := help
.PHONY: help env demo test test-oracle lint smoke clean
SHELL := /bin/bash

BASE_PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
# PADDLE=2.6.2 makes a second environment with another CPU build of Paddle, for tests only.
PADDLE ?=
VENV ?= .venv$(if $(PADDLE),-paddle-$(PADDLE))
PYTHON := $(VENV)/bin/python
# The public index's GPU wheel has kernels for these compute capabilities only; on any other card the CPU build runs.
GPU_CAPABILITY := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
REQUIREMENTS ?= $(if $(PADDLE),requirements-cpu.txt,$(if $(filter 6.1 7.0 7.5 8.0 8.6,$(GPU_CAPABILITY)),requirements.txt,requirements-cpu.txt))
STAMP := $(VENV)/.installed-$(notdir $(REQUIREMENTS))

help:
	@echo 'make demo    environment, restored sample photos, a small training run, before/after sheets in demo/'
	@echo 'make test    environment and all tests'
	@echo 'make env     the environment alone, in $(VENV); afterwards: source $(VENV)/bin/activate'
	@echo 'make lint    ruff;  make smoke: the small training run alone;  make clean: removes $(VENV), demo/, caches'

env: $(STAMP)

$(STAMP): $(REQUIREMENTS) requirements-web.txt tests/requirements.txt
	@echo 'Environment in $(VENV) from $(REQUIREMENTS) (GPU compute capability: $(or $(GPU_CAPABILITY),no GPU found))'
	@$(BASE_PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo 'Python 3.11 or 3.12 is needed; name one with make BASE_PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(BASE_PYTHON) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) -r tests/requirements.txt
	$(if $(PADDLE),$(PYTHON) -m pip install --quiet --disable-pip-version-check paddlepaddle==$(PADDLE))
	@rm -f $(VENV)/.installed-* && touch $@

test: env
	$(PYTHON) -m pytest

# pytorch-msssim and PyTorch as live oracles beside the recorded values; several hundred megabytes.
test-oracle: env
	$(PYTHON) -m pip install --quiet -r tests/requirements-oracle.txt
	$(PYTHON) -m pytest tests/metrics tests/losses tests/models

lint: env
	$(PYTHON) -m ruff check .

# Every step of a real training, on a small set of drawn pages and bundled cut-outs.
smoke: env
	rm -rf datasets/smoke datasets/smoke_prepared runs/smoke
	$(PYTHON) -m data.synthesis datasets/smoke --groups 60 --seed 0 --long-side 512
	$(PYTHON) data_preparation.py datasets/smoke datasets/smoke_prepared --size 256 --downscale 1
	$(PYTHON) generate_meta_info.py datasets/smoke_prepared
	$(PYTHON) train.py -c configs/smoke.yml

demo: env
	@echo '== 1 of 3: sample photos, restored with the shipped weights'
	$(PYTHON) predict.py test_code/samples/photos demo/samples --overwrite
	$(PYTHON) -m inference.sheet demo/samples.jpg test_code/samples/photos demo/samples --truth test_code/samples/gt
	@echo '== 2 of 3: a small training run from nothing'
	@$(MAKE) --no-print-directory smoke
	@echo '== 3 of 3: pages that the run has not seen, restored with the weights it has just trained'
	$(PYTHON) predict.py datasets/smoke/train_data_5/hand demo/smoke --overwrite --include '*.jpg' \
	  --weights runs/smoke/model_best.pdparams
	$(PYTHON) -m inference.sheet demo/smoke.jpg datasets/smoke/train_data_5/hand demo/smoke
	@echo 'Look at demo/samples.jpg (shipped weights) and demo/smoke.jpg (a minute of training).'

clean:
	rm -rf $(VENV) demo datasets/smoke datasets/smoke_prepared runs/smoke .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
