# The daily commands. Each makes the environment first (tools/setup; under a second when it is there).
#
#   make test ARGS='-k policy -x'     ARGS goes to pytest
#   make bench BENCH='fabric lab'     only these benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup lab test lint bench lock clean

# An ordinary user's PATH on Debian lacks nft, sshd and others.
export PATH := $(PATH):/usr/sbin:/sbin
unexport PYTHONPATH PYTHONHOME

BIN := .venv/bin

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

setup: ## install what is missing and make .venv
	@tools/setup

lab: setup ## raise the local lab and run all scenarios in it
	@$(BIN)/pytest scenarios $(ARGS)

# Side by side, a file at a time: labs are shared by the tests of a file. One more than there are cores, up to
# four: half of a lab test is waiting.
WORKERS := $(shell cores=$$(nproc); echo $$((cores < 4 ? cores + 1 : 4)))
test: setup ## the project's own tests
	@$(BIN)/pytest tests -n $(WORKERS) --dist loadfile $(ARGS)

lint: setup ## ruff and mypy, over everything
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	exit $$status

bench: setup ## measure, next to the peers that are installed; writes results/
	@$(BIN)/python -m tests.benchmarks.run $(BENCH)

lock: setup ## renew requirements.lock after a change of dependencies
	@tools/lock $(ARGS) && tools/setup

clean: ## remove .venv, caches and builds (results/ stays)
	@rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
