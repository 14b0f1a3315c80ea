# Each target makes what it needs, in $(VENV), from a Python of 3.11 or later: make test PYTHON=python3.13
PYTHON ?= python3
VENV ?= .venv

bin := $(VENV)/bin
# Stamps carry the Python's version, so that another PYTHON makes another environment.
tag := $(shell $(PYTHON) -c 'import sys; print(sys.implementation.cache_tag + getattr(sys, "abiflags", ""))' 2>/dev/null || echo none)
stamp := $(VENV)/.$(tag)
sources := $(shell find src -not -path '*/__pycache__*' -not -path '*.egg-info*' -not -name '*.so') setup.py MANIFEST.in pyproject.toml

.PHONY: help demo test storm mutants pythons wheels releases sanitize bench benchmarked lint types news clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r name what; do printf 'make %-9s%s\n' "$$name" "$$what"; done

demo: $(stamp)-cli  ## two programs on the cache, over the files of the Python's own standard library
	@echo 'Checksums of the standard library of $(bin)/python: with threadcache, with its executor and the standard library'\''s, with a thread a file.'
	@stdlib="$$($(bin)/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" && set -x && \
	$(bin)/python examples/checksum_tree.py "$$stdlib" && \
	: 'And an asyncio program that knows nothing of threadcache, put on it:' && \
	$(bin)/python -m threadcache run --report examples/hash_files.py "$$stdlib"

test: $(stamp)-test  ## run the tests
	@echo 'The tests, against threadcache as installed in $(VENV).'
	$(bin)/python -m pytest

storm: $(stamp)-test  ## run the storms and the explorer of interleavings at full length: hours
	THREADCACHE_STORM=full $(bin)/python -m pytest -v -m storm

mutants: $(stamp)-test  ## break the code behind each guarantee, and see its tests fail
	$(bin)/python tests/mutants.py

pythons:  ## run the tests on each Python that this machine has
	.ci/pythons

wheels:  ## build a wheel for each of them in dist, and run the tests with either mailbox
	.ci/wheels dist

releases:  ## run the tests of Trio and AnyIO on their releases of the last two years
	.ci/releases

sanitize:  ## run the C code under sanitizers and valgrind, with its assertions: a quarter of an hour
	.ci/sanitize

# DOCS: where the document and its results go. FREE: an interpreter without the GIL, to be measured too, in an environment
# within the other one. BENCH: what matrix.py is told besides.  make bench DOCS=elsewhere FREE=python3.13t BENCH=--quick
DOCS ?= docs
free := $(VENV)/without-gil

bench: benchmarked  ## compare it with its peers, and write docs/benchmarks.md: ten minutes for each combination
	@$(bin)/python -m pip install -qq --only-binary :all: matplotlib || echo 'matplotlib does not install here, so there will be no plots.'
	$(if $(FREE),@$(MAKE) --no-print-directory benchmarked PYTHON=$(FREE) VENV=$(free))
	@status=0; set -x; \
	$(bin)/python benchmarks/matrix.py --docs $(DOCS) $(if $(FREE),--without-gil $(free)/bin/python) $(BENCH) || status=$$?; \
	$(bin)/python benchmarks/document.py --docs $(DOCS) && exit $$status

benchmarked: $(stamp)-bench
	@$(bin)/python -m pip install -qq --only-binary :all: gevent || echo 'gevent does not install with $(PYTHON), so it is left out there.'

lint: $(stamp)-lint  ## check style, formatting and news fragments
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/towncrier build --draft --version next >/dev/null

types: $(stamp)-test $(stamp)-types  ## check types, and the calls that type checkers must refuse
	$(bin)/mypy
	PATH="$(abspath $(bin)):$$PATH" pyright --warnings
	PATH="$(abspath $(bin)):$$PATH" pyright --verifytypes threadcache --ignoreexternal

news: $(stamp)-lint  ## show the notes of the next release
	@$(bin)/towncrier build --draft --version next

clean:  ## remove what the other targets made
	rm -rf $(VENV) .tox build dist src/*.egg-info

$(stamp):
	@echo 'Making $(VENV) with $(PYTHON).'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "threadcache needs Python 3.11 or later, and this is %s; name another one: make PYTHON=python3.13" % sys.version.split()[0])'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# pip builds in ./build, and would install from there what has been deleted from src.
$(stamp)-cli $(stamp)-test $(stamp)-bench: $(stamp)-%: $(stamp) $(sources)
	@echo 'Installing threadcache[$*] into $(VENV).'
	@rm -rf build
	@$(bin)/python -m pip install -qq --disable-pip-version-check '.[$*]'
	@touch $@

$(stamp)-lint $(stamp)-types: $(stamp)-%: $(stamp) pyproject.toml
	@echo 'Installing what "make $*" needs into $(VENV).'
	@$(bin)/python -m pip install -qq --upgrade 'pip>=25.1'
	@$(bin)/python -m pip install -qq --group '$*'
	@touch $@
