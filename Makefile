# Each target installs its requirements in .venv. It needs only CPython 3.11 or later and a package index.
PYTHON ?= python3
EXAMPLES ?= 300
NODE_PACKAGES = ws@8 typescript@5 @types/node@20 @redocly/cli@2 @stoplight/spectral-cli@6
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check --use-pep517

.DEFAULT_GOAL := help
.PHONY: bench-js help demo test races lint type check schema-suite fuzz conformance autobahn long bench bench-http bench-ws profile clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo  ## call every function of the example service at every address and show the results
	$(RUN) -m portal.examples.demo

test: $(VENV)/.test  ## run all tests, with branch coverage
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest -n 2 -rfEs
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

races: $(VENV)/.test  ## run all tests while CPython switches threads every microsecond
	PORTAL_SWITCH_INTERVAL=1e-6 $(RUN) -m pytest -n 2 -rfEs

lint: $(VENV)/.lint  ## run ruff
	$(RUN) -m ruff check .

type: $(VENV)/.type  ## run mypy --strict on the package; mypy and basedpyright on code of users
	$(RUN) -m mypy
	$(RUN) -m tests.checkers

check: lint type test  ## run lint, type and test

schema-suite: $(VENV)/.test  ## fetch the JSON-Schema-Test-Suite and run it
	$(RUN) tests/conformance/fetch_json_schema_suite.py
	$(RUN) -m pytest tests -k json_schema_suite

fuzz: $(VENV)/.test $(VENV)/.fuzz  ## fuzz schemas and parsers with 10,000 cases each, then parsers guided by coverage (CPython 3.11)
	PORTAL_FUZZ_CASES=10000 $(RUN) -m pytest $$(grep -rl --include='test_*.py' PORTAL_FUZZ_CASES tests)
	$(RUN) -m tests.fuzz.coverage_guided

conformance: $(VENV)/.test $(VENV)/.conformance $(VENV)/.node  ## run schemathesis, linters and generated clients against served portals (some need Java or Node)
	PORTAL_CONFORMANCE=$(EXAMPLES) PORTAL_NODE_MODULES=$(CURDIR)/$(VENV)/node/node_modules $(RUN) -m pytest tests/conformance -o faulthandler_timeout=5400 -p no:randomly -s -rs

autobahn: $(VENV)/.test  ## run the Autobahn test suite of WebSockets in both directions (needs CPython 2.7)
	$(RUN) -m tests.conformance.autobahn $(VENV)/autobahn

long: $(VENV)/.test  ## run the long tests: idle and slow connections, a million calls, broken connections
	PORTAL_LONG=1 $(RUN) -m pytest tests/long $$(grep -rl --include='test_*.py' PORTAL_LONG tests | grep -v tests/long) -o faulthandler_timeout=5400 -p no:randomly -s

bench: $(VENV)/.bench  ## measure the parts of a call with pytest-benchmark
	$(RUN) -m pytest benchmarks

bench-http: $(VENV)/.bench  ## compare Portal with its peers (with wrk, if it is installed)
	$(RUN) -m benchmarks.compare_http

bench-ws: $(VENV)/.bench  ## compare Portal over WebSockets with its peers
	$(RUN) -m benchmarks.compare_ws

bench-js: $(VENV)/.bench  ## compare JavaScript functions with the bare engine
	$(RUN) -m benchmarks.javascript

profile: $(VENV)/.bench  ## print the time of each part of a call
	$(RUN) -m benchmarks.profile_call

clean:  ## remove all files that make created
	rm -rf $(VENV) .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .tox build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Portal needs CPython 3.11 or later and $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: setup.cfg $(VENV)/.created
	$(INSTALL) --editable .
	@touch $@

# Without npm the tests that need its packages are skipped.
$(VENV)/.node: Makefile $(VENV)/.created
	@if command -v npm >/dev/null; then npm install --silent --no-fund --no-audit --prefix $(VENV)/node $(NODE_PACKAGES); fi
	@touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.type $(VENV)/.bench $(VENV)/.fuzz $(VENV)/.conformance: $(VENV)/.%: setup.cfg $(VENV)/.created
	$(INSTALL) --editable '.[$*]'
	@touch $@
