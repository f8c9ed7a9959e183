# Every target makes .venv by itself when it is missing; nothing else has to be installed first.
PYTHON ?= python3
BACKENDS ?= jax tensorflow torch
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PEER := PYTHONPATH=.venv/peers $(BIN)/python -W ignore tests/parity/peers
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Most of the time of the tests is XLA compiling; equal programs are compiled once, also for JAX.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.venv/jax_cache
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1

.PHONY: demo test test-lowest parity lint bench bench-data bench-defaults bench-serving cards notebooks clean

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

# Half of the time that XLA needs to compile goes into making programs fast which here run once.
test parity: export XLA_FLAGS ?= \
	--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false

# One process per backend, two of them at a time and one thread each: the models are tiny. JAX, which
# spends its time compiling, has two: one for the contracts of the models, one for the rest. The
# longest come first.
PARTS = $(patsubst jax,jax-others jax-models,$(filter tensorflow,$(BACKENDS)) $(filter-out tensorflow,$(BACKENDS)))
test: .venv/all
	$(MAKE) --jobs 2 --keep-going --output-sync=target $(PARTS:%=test-%)

test-jax-models: .venv/all
	KERAS_BACKEND=jax OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10 tests/test_zoo.py

test-jax-others: .venv/all
	KERAS_BACKEND=jax OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10 \
		--ignore tests/test_zoo.py

test-%: .venv/all
	KERAS_BACKEND=$* OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10

# The lowest versions that extras allow, in front of those of .venv.
test-lowest: .venv/all
	$(PIP:--constraint constraints.txt=) --no-deps --upgrade --target .venv/lowest -r tests/lowest.txt
	PYTHONPATH=.venv/lowest KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
		tests/test_serving.py tests/test_service.py tests/test_hub.py tests/test_downloads.py

# Other people's layers, beside the packages of .venv and without what theirs ask for: of them we
# run layers alone, which need no more than .venv has.
.venv/parity: .venv/all
	$(PIP) --no-deps --upgrade --target .venv/peers \
		deepctr-torch fuxictr keras-rs lightning-utilities tensorflow-recommenders tf-keras \
		torchmetrics tqdm
	touch $@

# FUXICTR_ZOO: the folder `model_zoo` of github.com/reczoo/FuxiCTR, whose wheel has only part of it.
FUXICTR_ZOO ?=
parity: .venv/parity
	rm -rf build/parity
	$(PEER)/run_deepctr_torch.py build/parity
	$(PEER)/run_fuxictr.py build/parity $(FUXICTR_ZOO)
	$(PEER)/run_keras_layers.py build/parity keras_rs
	$(PEER)/run_keras_layers.py build/parity tensorflow_recommenders
	$(MAKE) --jobs 2 --keep-going --output-sync=target $(BACKENDS:%=parity-%)

parity-%: .venv/parity
	PARITY_CASES=build/parity PYTHONPATH=.venv/peers KERAS_BACKEND=$* OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest tests/parity

lint: .venv/all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python zoo/build.py --check

bench: .venv/all
	$(BIN)/python tests/bench/speed.py
	$(BIN)/python tests/bench/tables.py --out tests/bench/tables
	$(BIN)/python tests/bench/tables.py --who ours --rows 20e6 50e6 --out tests/bench/large
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
		$(BIN)/python tests/bench/tables.py --who ours --rows 1e3 5e6 --out tests/bench/large_pages
	$(BIN)/python tests/bench/fit.py --out tests/bench/fit
	$(BIN)/python tests/bench/allocator.py --out tests/bench/allocator

# FUXICTR: its interpreter and the folder of its repository, to stand beside ours.
FUXICTR ?=
bench-data: .venv/all
	$(BIN)/python tests/bench/data.py --out tests/bench/data $(FUXICTR:%=--fuxictr %)

# Adult, Bank and Frappe are looked for in KERAS_CTR_DATA; what is not there is left out.
.venv/defaults: .venv/all
	$(PIP) "lightgbm>=4.5"
	touch $@

bench-defaults: .venv/defaults
	$(BIN)/python tests/bench/defaults.py --out tests/bench/defaults

# torch-rechub, whose export of DeepFM stands beside ours.
.venv/rechub: .venv/all
	$(PIP) --no-deps --upgrade --target $@ torch-rechub tqdm

bench-serving: .venv/rechub
	KERAS_BACKEND=torch PYTHONPATH=.venv/rechub $(BIN)/python tests/bench/serving.py --out tests/bench/serving
	KERAS_BACKEND=jax $(BIN)/python tests/bench/serving.py --out tests/bench/serving
	KERAS_BACKEND=tensorflow $(BIN)/python tests/bench/serving.py --out tests/bench/serving
	KERAS_BACKEND=torch $(BIN)/python tests/bench/service.py --out tests/bench/service
	KERAS_BACKEND=torch $(BIN)/python tests/bench/candidates.py --out tests/bench/candidates
	KERAS_BACKEND=jax $(BIN)/python tests/bench/candidates.py --out tests/bench/candidates
	KERAS_BACKEND=tensorflow $(BIN)/python tests/bench/candidates.py --out tests/bench/candidates

cards: .venv/all
	$(BIN)/python zoo/build.py

notebooks: .venv/all
	$(BIN)/jupytext --update --to ipynb tutorials/*.py

clean:
	rm -rf .venv
