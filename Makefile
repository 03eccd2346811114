# SPDX-License-Identifier: Apache-2.0
# Two commands do everything on a fresh Debian machine: `make demo` and `make check`.
#
#   make build [BUILD=build] [CC=gcc] [SANITIZE=address,undefined]   programs in $(BUILD)/bin, lib, share
#              [OPENSSL=/opt/openssl-3.5]   against the OpenSSL installed there, 3.0 or later
#   make check [T=filter]    all tests; T runs those whose name holds the filter, on this one build
#   make demo [KEEP=1]       the AN12131 flow with the real clients
#   make bench [T=chip] [QUICK=1]   figures beside a peer in the same run; installs the peers. QUICK tries the benchmarks only
#   make fuzz T=name S=60    one fuzz target with libFuzzer
BUILD ?= build
SANITIZE ?= none
WERROR ?= false
MESON_ARGS ?=

.PHONY: build check demo bench fuzz deps lint clean
build: deps
	@OPENSSL="$(OPENSSL)" scripts/build "$(BUILD)" "$(SANITIZE)" "$(WERROR)" $(MESON_ARGS)

deps:
	@scripts/install-deps

check: deps
	@scripts/check $(T)

demo: build
	@scripts/demo $(if $(KEEP),--keep)

bench: build
	@QUICK="$(QUICK)" bench/run "$(BUILD)" $(T)

fuzz: deps
	@scripts/fuzz "$(T)" "$(or $(S),60)"

lint: deps
	@scripts/lint

clean:
	rm -rf build build-*
