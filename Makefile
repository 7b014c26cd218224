# Account Risk Alerts. Python 3.11 or newer, pip and make are enough; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-fast nightly install serve deploy bench chaos fuzz check examples pictures image-test lock sbom audit clean

help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: install ## Try it: sample source, mock Slack, one run, its report; run it again for the replay
	@$(BIN)/python examples/demo.py

# A module stays in one process, with the servers of its fixtures.
PYTEST = $(BIN)/python -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder

test: install ## Run the whole test suite
	@$(PYTEST)

test-fast: install ## Run the unit tests, which start no server and no process
	@$(PYTEST) -m unit

nightly: install ## Run the property tests with many examples, then `make fuzz` and `make chaos`
	@$(PYTEST) -m hypothesis --hypothesis-profile nightly
	@$(MAKE) fuzz chaos

install: $(STAMP) $(BIN)/risk-alerts ## Install the environment in .venv from the lock, with the command risk-alerts

serve: install ## Serve the API on :8000 and a Prefect server, which shows its runs, on :4200
	@exec $(BIN)/risk-alerts serve

# Without a configured API, Prefect would start a server of its own. prefect.yaml names the folder of the code by PWD.
# Without no_proxy, Prefect would call a loopback address through a proxy.
PREFECT_CLI = PWD="$(CURDIR)" PYTHONPATH="$(CURDIR)" DO_NOT_TRACK=1 PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=false \
	no_proxy="$${no_proxy:-$${NO_PROXY:-localhost}},localhost,127.0.0.1,::1" $(BIN)/prefect --no-prompt

# A work pool that exists stays as an operator has edited it.
deploy: install ## Deploy the monthly schedule and its work pool to the Prefect API of PREFECT_API_URL; SOURCE_URI=…
	@case '$(SOURCE_URI)' in *@* | *\?*) echo "make deploy: SOURCE_URI must not hold @ or ?, which may carry a secret:" \
		"Prefect stores it in plain text" >&2; exit 2 ;; esac
	@PREFECT_API_REQUEST_TIMEOUT=10 $(PREFECT_CLI) api POST /work_pools/filter --data '{}' > /dev/null || { \
		echo "make deploy: start the Prefect API (its first start takes up to a minute), or name another in" \
			"PREFECT_API_URL (such as http://127.0.0.1:4200/api) or in the Prefect profile" >&2; exit 1; }
	@$(PREFECT_CLI) work-pool inspect risk-alerts > /dev/null 2>&1 || $(PREFECT_CLI) work-pool create risk-alerts --type process
	@$(PREFECT_CLI) deploy --name monthly $(if $(SOURCE_URI),--param source_uri='$(SOURCE_URI)')

# All programs of bench/, or the named ones: make bench BENCH=delivery OPTIONS='--rounds 1'
BENCH ?= $(sort $(notdir $(basename $(wildcard bench/*.py))))

bench: $(VENV)/.installed-bench-peers ## Run the benchmarks: ratios against peers that are measured side by side
	@set -e; for program in $(BENCH); do $(BIN)/python -m bench.$$program $(OPTIONS); done

ROUNDS ?= 200

# Full disks need root. Without it, the program says so and applies the other faults.
chaos: install ## Run the long fault tests; ROUNDS=200 SEED=… LANES=2 DATABASE=sqlite|postgresql PREFECT=server|none
	@$(BIN)/python -m tests.chaos.driver --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) \
		$(if $(LANES),--lanes $(LANES)) $(if $(DATABASE),--database $(DATABASE)) $(if $(PREFECT),--prefect $(PREFECT))

EXAMPLES ?= 300

fuzz: install .venv-fuzz/.installed ## Test hostile input: damaged Parquet, schemathesis for the API; ROUNDS=200 EXAMPLES=300
	@$(BIN)/python -m tests.reading.fuzz --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.api.fuzz .venv-fuzz/bin/schemathesis --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED))

check: install ## Lint, format, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

examples: install ## Generate the example outputs in examples/
	@$(BIN)/python examples/make_examples.py

pictures: install ## Generate the pictures in docs/ from real runs; needs Chromium
	@$(BIN)/python examples/make_pictures.py

# Needs root, buildah and debootstrap, and four minutes; no Docker engine.
image-test: install ## Build the image and run each role in it, read-only and as its own user
	@tests/image/run $(BIN)/python

# Versions already locked are kept; `make lock UPGRADE=--upgrade` takes the newest that pyproject.toml allows.
COMPILE = $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)
COMPILE_PROJECT = $(COMPILE) pyproject.toml

lock: install ## Lock the dependencies of pyproject.toml, with hashes
	@$(COMPILE_PROJECT) --output-file requirements/runtime.txt
	@$(COMPILE_PROJECT) --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt
	@$(COMPILE) --group bench --constraint requirements/dev.txt --output-file requirements/bench.txt
	@$(COMPILE) --group audit --output-file requirements/audit.txt
	@$(COMPILE) --group fuzz --output-file requirements/fuzz.txt

# Reads the runtime lock, which is what the image installs. It installs nothing, so it needs no network.
SBOM ?= dist/sbom.cdx.json

sbom: .venv-audit/.installed ## Write the software bill of materials (CycloneDX JSON) of the runtime lock to dist/sbom.cdx.json
	@mkdir -p $(dir $(SBOM))
	@PYTHONWARNINGS=ignore .venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-format JSON \
		--output-file $(SBOM) requirements/runtime.txt
	@echo "$(SBOM)"

# Not part of `make check`, which works offline.
audit: .venv-audit/.installed ## Look up known vulnerabilities of the runtime lock; needs the network
	@.venv-audit/bin/python -m pip_audit --strict --progress-spinner off --disable-pip --require-hashes \
		--requirement requirements/runtime.txt || { \
		echo "make audit: vulnerabilities were found (listed above), or the advisory database cannot be reached:" \
			"it needs the network." >&2; exit 1; }

clean: ## Remove the environment, caches and the demo's files
	@rm -rf $(VENV) .venv-audit .venv-fuzz .demo dist bench/results/* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The project itself runs from the checkout. pip compiles what it installs, so that the first start is fast.
$(STAMP): requirements/dev.txt
	$(call environment,$(VENV),$<)

# The command works in any folder: -P keeps that folder off the import path.
$(BIN)/risk-alerts: $(STAMP) Makefile
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/python" -P -m cli "$$@"\n' "$(CURDIR)" "$$(cd $(BIN) && pwd)" > $@
	@chmod +x $@

# Environments of their own: the dependencies of these tools must not be importable in a test.
.venv-%/.installed: requirements/%.txt
	$(call environment,.venv-$*,$<)

# Makes an environment ($(1)) with exactly the packages of a lock ($(2)), and its stamp.
define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | tail -n 1)." \
			"Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
@echo "Installing $(2) into $(1) (a minute or two, once) ..."
@$(PYTHON) -m venv --clear $(1)
@$(1)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --require-hashes \
		--requirement $(2)
@touch $@
endef

# The peers of the benchmarks are installed in addition to the environment.
$(VENV)/.installed-bench-peers: requirements/bench.txt $(STAMP)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --require-hashes \
		--requirement requirements/bench.txt
	@touch $@
