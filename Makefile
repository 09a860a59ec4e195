# The verbs a person types.  `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
RUN := tools/run
INPUT ?=
OUTPUT ?= out
ARGS ?=
BENCH ?= kernel
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench docs clean distclean

help:  ## this list
	@echo "make VERB [INPUT=dataset folder or rosbag2] [OUTPUT=folder] [ARGS=\"more arguments\"]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup:  ## environment and build, in one go (skipped where nothing changed)
	@$(PYTHON) tools/setup_environment.py

demo: setup  ## frames -> ROS 2 topics -> complete meshes, a picture and a table in OUTPUT
	@$(RUN) python -m instascene_ros.demo $(if $(INPUT),--input "$(INPUT)") --output "$(OUTPUT)" $(ARGS)

test: setup  ## all tests (core and ROS), in JOBS processes (2)
	@$(RUN) python -m pytest test -n $(JOBS) --dist loadgroup $(ARGS)

lint: setup  ## style, formatting and types of Python, C++ and shell
	@$(RUN) tools/lint

bench: setup  ## BENCH=kernel (default), reconstruction, streaming, memory, association, completion, gpu, …
	@$(RUN) python -m benchmarks.$(BENCH) $(ARGS)
	@$(RUN) python -m benchmarks.tables

docs:  ## the documentation as a site in .build/site (pip install '.[docs]')
	@$(PYTHON) -c "import material" 2>/dev/null || { echo "mkdocs-material is not installed: $(PYTHON) -m pip install 'mkdocs-material>=9.5'"; exit 1; }
	@$(PYTHON) -m mkdocs build --strict

clean:  ## remove what was built
	rm -rf build install log .setup/build instascene_core/lib out *.egg-info

distclean: clean  ## and the environment
	rm -rf .venv .setup .cache
