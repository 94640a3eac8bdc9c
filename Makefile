# Targets for users and contributors. `make` without a target lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo

# The base image: cpu or cuda, its name and tag, the platform, PUSH=1 to push it, and other build
# arguments of the Dockerfile.
VARIANT ?= cpu
IMAGE ?= gitops-ml/base:3.12-$(VARIANT)
PLATFORM ?= linux/amd64
PUSH ?=
BUILD_ARGS ?=
DOCKER ?= docker

# The reader to fuzz, one of the names in tests/fuzz/README.md, and the seconds.
TARGET ?= yaml_text
SECONDS ?= 600

# The folder of the programs that `make bench` runs beside gitops-ml.
PEERS ?= .bench-peers

# What `make e2e` runs.
TESTS ?= tests/e2e
# Stories mostly wait, so more of them run at once than there are processors.
STORIES ?= 3

# Processes of the test run: one more than processors, since many tests wait for a server.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.DEFAULT_GOAL := help
.PHONY: help demo test check audit e2e e2e-binaries fuzz bench bench-peers bench-serving dashboards base-image clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "gitops-ml needs Python 3.10 or newer; name one with make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --editable '.[dev]'
	$(BIN)/python tests/support/install_helm.py
	@touch $@

demo: ## Train, deploy and serve an example on this machine: no cluster, Docker or registry needed
	@$(PYTHON) examples/demo.py --home $(DEMO)

# Many tests start programs of ours: these find their modules compiled, whatever the environment says.
test: $(VENV)/.installed ## Run the test suite
	PYTHONDONTWRITEBYTECODE= PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

check: $(VENV)/.installed ## Everything that CI checks: format, lint, types, rooms, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

audit: $(VENV)/.installed ## Look for known vulnerabilities of the dependencies (asks a vulnerability service)
	$(BIN)/python -m pip install --quiet --editable '.[audit]'
	$(BIN)/python -m pip_audit --local --skip-editable || { echo "pip-audit found a vulnerability, or could not reach its service: see above" >&2; exit 1; }

e2e: $(VENV)/.installed ## Test on a real cluster that is started here, of the binaries (root): TESTS=tests/e2e STORIES=3
	PATH="$(abspath $(BIN)):$$PATH" GITOPS_ML_E2E=local $(BIN)/python -m pytest -n $(STORIES) --dist loadgroup --no-loadscope-reorder -ra --durations=0 --durations-min=1 $(TESTS)

e2e-binaries: $(VENV)/.installed ## Build the binaries of `make e2e` (Go; 45 minutes on two cores, once)
	$(BIN)/python -m tests.e2e.machine

fuzz: $(VENV)/.installed ## Fuzz a reader: TARGET=yaml_text|json_text|tensor_text|layer_bytes|registry_answers SECONDS=600
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(TARGET) $(SECONDS)

bench: $(VENV)/.installed ## Measure gitops-ml and a peer in the same run
	PATH="$(abspath $(BIN)):$(abspath $(PEERS)):$$PATH" $(BIN)/python -m bench

bench-peers: ## Build dyff into PEERS, which `make bench` runs beside `check` (Go)
	GOBIN="$(abspath $(PEERS))" go install github.com/homeport/dyff/cmd/dyff@v1.12.0

bench-serving: $(VENV)/.installed ## Measure the runtime and other serving runtimes
	@[ -d .bench-serving ] || UV="$(abspath $(BIN))/uv" bench/serving/run.sh setup
	PYTHON="$(abspath $(BIN))/python" bench/serving/run.sh

dashboards: $(VENV)/.installed ## Write the dashboards of the chart and of bootstrap, after a change of dashboards/
	$(BIN)/python -m dashboards

base-image: ## Build the base image of predictors: VARIANT=cpu|cuda IMAGE=… PLATFORM=… PUSH=1
	$(DOCKER) build --platform $(PLATFORM) --tag $(IMAGE) $(BUILD_ARGS) \
	  --file predictor_base/docker/$(VARIANT).Dockerfile predictor_base/docker
ifneq ($(PUSH),)
	$(DOCKER) push $(IMAGE)
	@image='$(IMAGE)'; echo "image.base: $$image@$$($(DOCKER) image inspect --format \
	  '{{range .RepoDigests}}{{println .}}{{end}}' "$$image" | sed -n "s|^$${image%:*}@||p")"
endif

clean: ## Remove what make created
	rm -rf $(VENV) $(DEMO) .bench-serving .bench-peers .fuzz build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
