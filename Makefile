# Every command first installs what is missing: Debian packages (as root on Debian), then Python packages into .venv.
#
## make serve     run a sidecar on port 8080, with its own Redis      (ARGS="--port 9090")
## make test      run all tests, on all CPUs                          (ARGS="-k quota -x"; JOBS=0 for one process)
## make pythons   run the tests of the library and of the scripts on every Python from 3.11 that pyenv has
## make lint      run ruff, mypy, pyright, luacheck, and check import contracts and sizes
## make docs      build the documentation site in build/docs
## make bench     measure the speed next to bare Redis and other limiters   (ARGS=--short)
## make load      run Locust against a sidecar for a minute

SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
JOBS ?= logical
VENV := .venv
BIN := $(VENV)/bin

# nginx, HAProxy and Apache are installed in sbin, which is not on every PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin

# Parallel jobs would compete for apt's lock.
.NOTPARALLEL:

# The tests of a file run in one process, which starts their servers once.
PARALLEL := -n $(JOBS) --dist loadfile

# Other Pythons to test on: those of pyenv, from 3.11 on.
PYTHONS := $(wildcard $(HOME)/.pyenv/versions/3.1[1-9]*/bin/python)

.PHONY: help serve test pythons lint docs bench load clean
.PHONY: has-redis has-gateways has-wrk has-cc has-openssl has-curl has-luacheck has-chromium has-npm has-debootstrap

help:
	@sed -n 's/^## //p' Makefile

serve: has-redis $(VENV)/.serve
	$(BIN)/limiter serve $(ARGS)

test: has-redis has-gateways has-cc has-openssl has-curl has-chromium has-npm has-debootstrap $(VENV)/.dev
	@# The tests start hundreds of processes, which would each compile the package where PYTHONDONTWRITEBYTECODE is set.
	@$(BIN)/python -m compileall -q api limiter
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

pythons: has-redis
	$(foreach python,$(PYTHONS),$(call test-on,$(python),.venvs/$(notdir $(patsubst %/bin/python,%,$(python)))))

bench: has-redis has-cc has-gateways has-wrk $(VENV)/.dev
	$(BIN)/python loadtests/bench.py $(ARGS)

docs: $(VENV)/.dev
	$(BIN)/python docs/build.py $(ARGS)

load: has-redis $(VENV)/.dev
	$(BIN)/python loadtests/load.py $(ARGS)

lint: has-luacheck $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy -p limiter
	$(BIN)/mypy examples/frameworks/*.py
	$(BIN)/pyright
	$(BIN)/python .ci/sizes.py
	luacheck --quiet lua examples

clean:
	rm -rf $(VENV) .venvs build dist *.egg-info

# --- Installing. The stamp files are renewed when pyproject.toml changes. `serve` needs fewer packages than the rest.

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.serve: pyproject.toml | $(BIN)/pip
	$(PIP_INSTALL) --editable '.[sidecar]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/pip
	$(PIP_INSTALL) --editable '.[sidecar,load,dev,docs,bench]'
	@touch $@ $(VENV)/.serve

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed, and $(PYTHON) is not: name another, as in `make PYTHON=python3.12 test`' >&2; exit 1; }
	$(call install-unless,$(PYTHON) -c 'import ensurepip',the venv module of $(PYTHON),$(notdir $(PYTHON))-venv)
	$(PYTHON) -m venv $(VENV)

has-redis:
	$(call install-unless,command -v redis-server,redis-server,redis-server)

# Envoy and Traefik are Python packages.
has-gateways:
	$(call install-unless,command -v nginx,nginx,nginx-light)
	$(call install-unless,command -v caddy,Caddy,caddy)
	$(call install-unless,command -v haproxy,HAProxy,haproxy)
	$(call install-unless,command -v apache2,Apache,apache2)
	$(call install-unless,ls /usr/share/lua/5.3/socket.lua,LuaSocket for Lua 5.3,lua-socket)

# The load generator of the benchmark of the gateways.
has-wrk:
	$(call install-unless,command -v wrk,wrk,wrk)

# Tests compile a library that lets them set the clock of a Redis, and a benchmark its load generator.
has-cc:
	$(call install-unless,cc -include time.h -x c -fsyntax-only /dev/null,a C compiler,gcc libc6-dev)

has-openssl:
	$(call install-unless,command -v openssl,openssl,openssl)

has-curl:
	$(call install-unless,command -v curl,curl,curl ca-certificates)

# Tests open the documentation page of the admin API in a browser, and compile generated clients.
has-chromium:
	$(call install-unless,command -v chromium && command -v chromedriver,Chromium with its driver,chromium chromium-driver)

has-npm:
	$(call install-unless,command -v npm,npm,nodejs npm)

# Tests build the container image in a Debian tree, with a network of its own.
has-debootstrap:
	$(call install-unless,command -v debootstrap && command -v ip,debootstrap and iproute2,debootstrap iproute2)

has-luacheck:
	$(call install-unless,command -v luacheck,luacheck,lua-check)

# $(call test-on,python,its venv). The frameworks that limiter.web limits are not installed there.
define test-on
@echo '== $(1)'
@$(1) -m venv $(2)
@$(2)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
$(2)/bin/python -m pytest $(PARALLEL) tests/limiter tests/lua --ignore-glob='*/limiter/web/test_*' $(ARGS)

endef

# $(call install-unless,test,what it tests for,Debian package). The policy keeps packages from starting their services.
POLICY := /usr/sbin/policy-rc.d
define install-unless
@$(1) >/dev/null 2>&1 || \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo 'Installing $(3)'; \
	export DEBIAN_FRONTEND=noninteractive; \
	[ -e $(POLICY) ] || { trap 'rm -f $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' >$(POLICY); chmod +x $(POLICY); }; \
	{ apt-get update -qq && apt-get install -qq --no-install-recommends $(3); } >/dev/null; \
else \
	echo '$(2) is missing: install it (on Debian: sudo apt-get install $(3))' >&2; exit 1; \
fi
endef
