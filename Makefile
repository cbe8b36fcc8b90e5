# Everything a developer runs. Each target works by itself in a fresh clone: it first makes the
# virtual environment that it needs from the locked requirements.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The interpreters `make check` runs tests on. 3.12 has the same Quart as 3.11, and 3.14 the same as
# 3.13, so that the quick half of the suite is enough there.
PYTHONS ?= 3.11 3.12 3.13 3.14
QUICK_PYTHONS := 3.12 3.14
# The half of the suite that starts few processes and puts no load on anything.
QUICK := accounts admin auth cli/test_embedded_run.py observability posts/test_[clw]*.py settings \
	web/test_*.py

# One more than there are cores, for tests also wait; all use one PostgreSQL server, so more than
# four gain little.
WORKERS ?= --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 --dist worksteal

# What running needs, what developing needs, and, each in a place of their own, the benchmark's
# peers and the clients that know the service from its OpenAPI document alone.
RUN := $(VENV)/.run
DEVELOPMENT := $(VENV)/.development
PEERS := .venv-benchmarks/.peers
CLIENTS := .venv-clients/.clients

INSTALL = $(@D)/bin/python -m pip install -qq --no-input --disable-pip-version-check
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-header --no-emit-index-url --no-emit-find-links
VERSION := import sys; print("%d.%d" % sys.version_info[:2])

# $(call tests,SELECTION,OPTIONS). Tests share the processors with each other, and any of them can be
# held up for longer than it waits; so those that failed are tried once more, one after the other.
tests = $(BIN)/python -m pytest $(1) $(2) || { [ $$? -eq 1 ] && \
	echo "Those that failed are tried once more, one after the other:" && \
	$(BIN)/python -m pytest $(1) --last-failed --last-failed-no-failures none --maxfail 3; }

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test quick check lint types migrations document others proof bench rules lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 19

run: $(RUN) ## serve on http://127.0.0.1:8000 with an embedded PostgreSQL (PORT=…, DATA_DIR=…)
	@exec $(BIN)/service run

test: $(DEVELOPMENT) ## run the tests (COVERAGE=--cov: and measure what they cover)
	@$(call tests,,$(WORKERS) $(COVERAGE))

quick: $(DEVELOPMENT) ## run the quick half of the tests
	@$(call tests,$(QUICK:%=tests/%),$(WORKERS))

check: lint types migrations document others proof ## lint, types, migrations, OpenAPI, other Pythons, proofs

lint: $(DEVELOPMENT) ## ruff: style, likely bugs, format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# growth.py runs with the service's interpreter; the first run checks it, because a test imports it.
types: $(DEVELOPMENT) $(PEERS) ## mypy
	@$(BIN)/mypy
	@$(BIN)/mypy --python-executable .venv-benchmarks/bin/python --exclude growth.py benchmarks

migrations: $(DEVELOPMENT) ## the migrations run, block no table for long, and lead to what the models say
	@$(BIN)/python -m tests.support.check_migrations

document: $(DEVELOPMENT) ## the OpenAPI document is valid
	@$(BIN)/service openapi > $(VENV)/openapi.json
	@$(BIN)/openapi-spec-validator $(VENV)/openapi.json

# Coverage costs a third more time, so it is measured here and not at each `make test`.
others: ## tests on the other supported Pythons that are installed, and their coverage
	@own=$$($(PYTHON) -c '$(VERSION)'); covered=; \
	for version in $(PYTHONS); do \
		if [ "$$version" = "$$own" ]; then continue; fi; \
		if [ "$$(python$$version -c '$(VERSION)' 2>/dev/null)" != "$$version" ]; then \
			echo "python$$version is not installed here: the suite does not run on it."; continue; \
		fi; \
		case " $(QUICK_PYTHONS) " in \
			*" $$version "*) tests=quick;; \
			*) tests="test COVERAGE=--cov"; covered=yes;; \
		esac; \
		echo "Python $$version: make $$tests"; \
		$(MAKE) --no-print-directory $$tests \
			PYTHON=python$$version VENV=.venv-$$version || exit; \
	done; \
	if [ -z "$$covered" ]; then $(MAKE) --no-print-directory test COVERAGE=--cov; fi

proof: $(DEVELOPMENT) $(CLIENTS) ## the tests that take minutes
	@$(call tests,-m "proof and not alone",$(WORKERS) --durations 10)
	@$(call tests,-m "proof and alone",--durations 10)

# What running needs has no uvicorn.
bench: $(DEVELOPMENT) $(PEERS) ## measure the service beside its peers (OPTIONS=--quick: under 3 minutes)
	@.venv-benchmarks/bin/python -m benchmarks --python $(abspath $(BIN)/python) $(OPTIONS)

rules: $(DEVELOPMENT) ## write the PrometheusRule of deploy/kubernetes/ anew, from deploy/monitoring/
	@$(BIN)/python -m tests.support.prometheus_rule

lock: $(BIN)/pip ## resolve the requirements anew (UPGRADE=1: to the newest versions)
	@$(BIN)/python -m pip install -qq --upgrade uv
	@$(COMPILE) pyproject.toml --all-extras --group dev $(if $(UPGRADE),--upgrade) \
		--output-file requirements/development.txt
	@$(COMPILE) pyproject.toml --extra embedded --group build \
		--constraints requirements/development.txt --output-file requirements/run.txt
	@$(COMPILE) pyproject.toml --extra otel --extra uvicorn \
		--constraints requirements/development.txt --output-file requirements/production.txt
	@$(COMPILE) --group build \
		--constraints requirements/development.txt --output-file requirements/build.txt
	@$(COMPILE) benchmarks/requirements.in $(if $(UPGRADE),--upgrade) \
		--output-file benchmarks/requirements.txt
	@$(COMPILE) requirements/clients.in $(if $(UPGRADE),--upgrade) \
		--output-file requirements/clients.txt

clean: ## remove what the other targets made, except the data in var/
	@rm -rf .venv .venv-* .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find service alembic tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(RUN) $(DEVELOPMENT): $(VENV)/.%: requirements/%.txt pyproject.toml | $(VENV)/bin/pip
	@echo "Installing $< into $(@D) …"
	@$(INSTALL) --require-hashes --requirement $<
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(PEERS): benchmarks/requirements.txt | .venv-benchmarks/bin/pip
$(CLIENTS): requirements/clients.txt | .venv-clients/bin/pip
$(PEERS) $(CLIENTS):
	@echo "Installing $< into $(@D) …"
	@$(INSTALL) --require-hashes --requirement $<
	@touch $@

%/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
		"Python 3.11 or newer is needed: name one, as in make PYTHON=python3.13." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo \
		"This Python can't make virtual environments: install its venv package" \
		"(Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $*
