# Every target installs what it needs first. `make` alone lists them.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .venv-manifests

# what `make compile` wrote with options of its own, if it did
COMPILED = $(if $(wildcard build/train.yaml),--pipeline build/train.yaml)

DATA ?= quickstart
WEIGHTS ?=
RUNNER ?=
ARGS ?=
CONTAINER ?=
REGISTRY ?=
BASE_IMAGE ?=
VARIANT ?=
RELEASE ?=
DIGESTS ?=
IMAGES ?=
ifneq ($(IMAGES),)
export SIGHTLINE_IMAGES := $(IMAGES)
endif

.DEFAULT_GOAL := help
.PHONY: help install run test check manifests secrets format compile submit schedule trigger bench faults lock images push test-images test-cluster wheel clean

help: ## list the targets
	@echo "Sightline: labelled images in; a registered ONNX detector out."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'
	@echo
	@echo "  make run DATA=path WEIGHTS=yolo11n.pt ARGS='--preset fast --set train.epochs=10'"

install: $(STAMP) ## install everything from the hash-locked lists into .venv

$(STAMP): requirements.lock bootstrap.lock pyproject.toml
	@echo "Installing into $(VENV) (about 6 GB; once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline -e .
	@touch $@

run: $(STAMP) ## run the whole pipeline: the quickstart, or your DATA=, with WEIGHTS=, RUNNER=docker and ARGS=
	@$(BIN)/sightline run --data "$(DATA)" $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(RUNNER),--runner $(RUNNER)) $(ARGS)

test: $(STAMP) ## run the tests (SIGHTLINE_TEST_DATA names the folder of real datasets)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: $(STAMP) ## lint, types, import contracts, derived files, the public surface, the images' lists
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pipelines.compile --check
	@$(BIN)/python -m tests.architecture.surface --check
	@$(BIN)/hadolint images/*/Dockerfile
	@$(BIN)/python -m images.supply_chain

manifests: $(TOOLS)/.installed ## render the manifests and check them (needs promtool, of Debian's package prometheus)
	@$(TOOLS)/bin/python manifests/check.py

secrets: $(TOOLS)/.installed ## make the cluster's Secrets from the environment (NAMESPACE=kubeflow)
	@KUBECTL="$${KUBECTL:-$(TOOLS)/bin/kubectl}" manifests/secrets.sh

$(TOOLS)/.installed: manifests/requirements.lock
	@echo "Installing the tools for manifests into $(TOOLS) (390 MB; once) ..."
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r manifests/requirements.lock
	@touch $@

format: $(STAMP) ## format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

# what Kubeflow Pipelines fixes when a pipeline is compiled; with any of them, `make compile` writes build/train.yaml
OPTIONS = SHM CACHE_CLAIM OWNER QUEUE PULL_SECRET TRAIN_TIMEOUT TRAIN_RETRIES TTL DEADLINE
lower = $(subst _,-,$(shell echo $(1) | tr A-Z a-z))

compile: $(STAMP) ## write pipelines/compiled/*.yaml, or build/train.yaml (DIGESTS=1 SHM= DEADLINE= OWNER= QUEUE= …)
	@$(BIN)/python -m pipelines.compile $(if $(DIGESTS),--digests) \
	  $(foreach name,$(OPTIONS),$(if $($(name)),--$(call lower,$(name)) "$($(name))"))

submit: $(STAMP) ## upload the pipeline to the server at KFP_ENDPOINT and start a run (ARGS='--param data=s3://… --wait')
	@$(BIN)/sightline submit $(COMPILED) $(ARGS)

schedule: $(STAMP) ## make the recurring runs there match pipelines/schedules.yaml (ARGS=--dry-run)
	@$(BIN)/sightline schedule $(COMPILED) $(ARGS)

trigger: $(STAMP) $(TOOLS)/.installed ## hand pipelines/triggers.yaml and build/train.yaml to the service on the cluster (NAMESPACE=kubeflow)
	@$(BIN)/sightline trigger --dry-run $(COMPILED)
	@KUBECTL="$${KUBECTL:-$(TOOLS)/bin/kubectl}" manifests/trigger.sh pipelines/triggers.yaml build/train.yaml

bench: $(STAMP) ## measure time and memory against plain Ultralytics (needs SIGHTLINE_TEST_DATA)
	@$(BIN)/python -m tests.bench $(ARGS)

faults: $(STAMP) ## put real faults to real trainings, and print how each ended (ARGS="rank-killed …"; ARGS=--list)
	@$(BIN)/python -m tests.faults $(ARGS)

lock: $(STAMP) ## resolve the lock files again (needs the network)
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header manifests/requirements.in -o manifests/requirements.lock
	@grep -E '^uv==' requirements.lock | cut -d' ' -f1 | $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -o bootstrap.lock
	@$(BIN)/python -m images.lock

BUILD = $(BIN)/python -m images.build $(if $(CONTAINER),--container "$(CONTAINER)")

images: $(STAMP) ## build the container images (CONTAINER= REGISTRY= BASE_IMAGE= VARIANT=cpu)
	@$(BUILD) $(if $(REGISTRY),--registry "$(REGISTRY)") $(if $(BASE_IMAGE),--base-image "$(BASE_IMAGE)") --variant "$(VARIANT)"

push: $(STAMP) ## push the images of the last build (RELEASE=1: as this version too)
	@$(BUILD) --push $(if $(RELEASE),--release)

test-images: $(STAMP) ## test the images of the last build
	@CONTAINER="$(CONTAINER)" $(BIN)/python -m pytest -m images tests/images $(ARGS)

test-cluster: $(STAMP) ## test on the cluster at KFP_ENDPOINT, with the IMAGES= of its nodes (tests/README.md; half an hour)
	@$(BIN)/python -m pytest -m cluster tests/cluster $(ARGS)

wheel: $(STAMP) ## build the wheel into dist/
	@$(BIN)/python -m hatchling build -t wheel

clean: ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) $(TOOLS) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
