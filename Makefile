# Two commands do all the set-up: `make sandbox` runs the gateway before a real Freqtrade,
# `make test` passes every check and test. Both need Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: sandbox tour test check bench lock clean campaign prove-simulation prove-bugs \
	prove-limits prove-model prove-processes prove-wire prove-race prove-access

sandbox: $(STAMP)
	@$(BIN)/mcp-gateway sandbox $(if $(PORT),--port $(PORT))

tour: $(STAMP)
	@$(BIN)/mcp-gateway sandbox --tour

test: $(STAMP)
	@$(BIN)/python -m tests.support.run

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Start, memory, tool list and throughput beside their floors, in about a minute; what comes
# out is docs/performance.md.
bench: $(STAMP)
	@$(BIN)/python -m benchmarks

# The proofs of docs/orders.md in their whole sizes (`make prove-wire RUNS=20` takes another);
# `make test` runs a share of each.
prove-simulation: SEEDS ?= 10000000
prove-limits: SEEDS ?= 1000000
prove-model: EXAMPLES ?= 200000
prove-processes: RUNS ?= 280
prove-wire: RUNS ?= 500
prove-race: ROUNDS ?= 1000
campaign: ORDERS ?= 200

prove-simulation: $(STAMP)
	@$(BIN)/python -m tests.proofs.simulation --seeds $(SEEDS)

prove-limits: $(STAMP)
	@$(BIN)/python -m tests.proofs.limits --seeds $(SEEDS)

prove-bugs: $(STAMP)
	@$(BIN)/python -m tests.proofs.planted

prove-model: $(STAMP)
	@$(BIN)/python -m tests.proofs.model --examples $(EXAMPLES)

prove-processes: $(STAMP)
	@$(BIN)/python -m tests.proofs.processes --runs $(RUNS)

prove-wire: $(STAMP)
	@$(BIN)/python -m tests.proofs.wire --runs $(RUNS)

prove-race: $(STAMP)
	@$(BIN)/python -m tests.proofs.race --rounds $(ROUNDS)

# One after the other, to the first that finds anything; each takes --size of its own.
prove-access: $(STAMP)
	@for proof in token_rotation key_rotation quotas replay neighbours schema fuzz; do \
		echo "$$proof:"; $(BIN)/python -m tests.proofs.access.$$proof || exit $$?; done

campaign: $(STAMP)
	@$(BIN)/python -m tests.proofs.campaign --orders $(ORDERS)

# The hash-pinned requirements decide when the environment is built again.
$(STAMP): requirements/dev.txt requirements/bootstrap.txt pyproject.toml
	@$(PYTHON) requirements/bootstrap.py $(VENV)
	@touch $@

lock: $(STAMP)
	@$(BIN)/python requirements/lock.py

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis
