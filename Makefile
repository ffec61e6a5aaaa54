# kubeloop: every target makes the virtual environment that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint debian bench bench-quick generate api-table clean

demo: $(STAMP)
	$(BIN)/kubeloop demo $(if $(KEEP),--keep)

test: lint debian
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the real etcd that tests and benchmarks stand beside
debian:
	.ci/debian

bench: $(STAMP) debian
	$(BIN)/python -m bench

bench-quick: $(STAMP) debian
	$(BIN)/python -m bench --quick

generate: $(STAMP)
	$(BIN)/python -m kubeloop.actors.api.generate

# docs/api.md, from the registry
api-table: $(STAMP)
	$(BIN)/python -m kubeloop.actors.apiserver.registry.document_generate

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("kubeloop needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
