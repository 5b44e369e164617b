# One command surface. Everything below sets up what it needs: .venv (plain pip, pinned) and compiled kernels.
# PIP_FIND_LINKS is honoured by pip itself, e.g. for a folder with a CPU build of torch.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(wildcard envs/sim/*.py envs/controllers/*.py)

.PHONY: help demo test check bench docs conformance control-plane fidelity setup clean

help: ## what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Trimtab needs Python 3.11 or newer; set PYTHON=/path/to/one" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[train,test,check,docs]'
	@touch $@ $(VENV)/.base

$(VENV)/.kernels: $(VENV)/.base $(SOURCES)
	$(BIN)/trimtab setup
	@touch $@

setup: $(VENV)/.kernels ## virtual environment and compiled kernels

demo: $(VENV)/.kernels ## two weeks of a real web shop's load under today's autoscalers
	$(BIN)/trimtab whatif webshop --stacks hpa-default,hpa-tuned,rps-tuned,karpenter,karpenter-balanced,karpenter-rps-tuned,trimtab --bound --out out/demo --force

test: $(VENV)/.dev $(VENV)/.kernels ## the tests
	$(BIN)/python -m pytest

check: $(VENV)/.dev ## linters, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev $(VENV)/.kernels ## the performance table; writes bench.json
	$(BIN)/python -m tests.bench --out bench.json

conformance: $(VENV)/.dev ## rules against cases recorded from the real controllers; writes docs/conformance.md
	$(BIN)/python -m tests.conformance --write-docs

control-plane: $(VENV)/.dev ## build a real control plane for the tests from Go modules (8-15 minutes once; needs Go)
	$(BIN)/python -m tests.control_plane build

fidelity: $(VENV)/.dev $(VENV)/.kernels ## the simulator against recordings of a real control plane; writes docs/fidelity.md
	$(BIN)/python -m tests.control_plane.fidelity

docs: $(VENV)/.dev ## the documentation site, in site/
	$(BIN)/zensical build --strict

clean: ## remove what was built
	rm -rf $(VENV) site out bench.json
