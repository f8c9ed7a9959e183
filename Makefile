# Every target makes .venv by itself when it is missing; nothing else has to be installed first.
PYTHON ?= python3
BACKENDS ?= jax tensorflow torch
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint bench cards notebooks clean

# What `demo` needs: one backend.
.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable ".[jax]"
	touch $@

# What everything else needs: all three backends and the tools.
.venv/all: .venv/demo
	$(PIP) --editable ".[jax,torch,test,notebooks]" tensorflow-cpu
	touch $@

demo: .venv/demo
	KERAS_BACKEND=jax $(BIN)/keras-ctr demo

# One process per backend: they would fight for the cores in one.
test: .venv/all
	for backend in $(BACKENDS); do \
	  echo "== $$backend"; \
	  KERAS_BACKEND=$$backend $(BIN)/python -m pytest || exit 1; \
	done

lint: .venv/all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python zoo/build.py --check

bench: .venv/all
	$(BIN)/python tests/bench/speed.py

cards: .venv/all
	$(BIN)/python zoo/build.py

notebooks: .venv/all
	$(BIN)/jupytext --update --to ipynb tutorials/*.py

clean:
	rm -rf .venv
