# make            the libraries and build/adit
# make run        adit's main job on one formula: the trace, a check of the derivatives, build/graph.svg
# make test       every test, with clang and sanitizer builds
# make bench      the programs behind the figures in benchmarks/RESULTS.md, then GradBench's evaluations with the peers
# make gradbench  build/adit-gradbench, adit as a tool of GradBench (benchmarks/gradbench)
# make peers      those other tools, and derivatives by hand, that `make bench` compares with (benchmarks/peers)
# make install PREFIX=dir
#
# run, test, bench, gradbench and peers call scripts/setup first, which installs what is missing.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
FORMULA = sin(x + y^2)/sqrt(x)
AT = x=2 y=1

configure = cmake -S . -B $(BUILD) >/dev/null
build = MAKEFLAGS=--no-print-directory cmake --build $(BUILD) -j $(JOBS)

.PHONY: all run test bench gradbench peers install clean

all:
	@command -v cmake >/dev/null || { echo "cmake is missing; scripts/setup installs what is needed" >&2; exit 1; }
	@$(configure)
	@$(build)

run:
	@scripts/setup run
	@$(MAKE) --no-print-directory all
	$(BUILD)/adit trace '$(FORMULA)' $(AT)
	$(BUILD)/adit check '$(FORMULA)' $(AT)
	$(BUILD)/adit draw '$(FORMULA)' $(AT) -o $(BUILD)/graph.svg
	@echo "The graph is drawn in $(BUILD)/graph.svg"

test:
	@scripts/setup test
	@$(configure) -DADIT_TESTS=ON
	@$(build) --target all tests
	ctest --test-dir $(BUILD) -j $(JOBS) --output-on-failure --no-tests=error

bench: peers
	@scripts/setup bench
	@$(configure) -DADIT_BENCHMARKS=ON
	@$(build) --target bench gradbench
	@benchmarks/run --build $(BUILD) --write

gradbench:
	@scripts/setup gradbench
	@$(configure) -DADIT_BENCHMARKS=ON
	@$(build) --target gradbench

peers:
	@scripts/setup peers
	@cmake -S benchmarks/peers -B $(BUILD)/peers >/dev/null
	@MAKEFLAGS=--no-print-directory cmake --build $(BUILD)/peers -j $(JOBS)

install: all
	cmake --install $(BUILD) --prefix $(abspath $(PREFIX))

clean:
	rm -rf $(BUILD)
