# Two commands for a fresh machine with Python 3.11+, make and a C library:
#   make book    the environment, the chapters executed where something changed, the rendered book
#   make test    the environment, then every check
# A target that passed leaves a stamp in .make/ and is not run again until a file it reads changes
# (`make -B test` runs everything again). An interrupted command goes on where it stopped.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STEP := @$(PYTHON) tools/step.py
# pip shows its progress to a person, and is quiet in a log
QUIET := $(shell test -t 2 || echo --quiet --progress-bar off)
SUMMARY := @$(PYTHON) tools/step.py --summary

# the summary is of this run, not of an interrupted one before it
_ := $(shell rm -f .make/times.tsv)

LIBRARY := $(shell find cellcount_lib -name '*.py' -o -name '*.json' -o -name '*.txt' -o -name '*.safetensors' -o -name '*.onnx' -o -name '*.js' -o -name '*.css' -o -path '*live/vendor/*' -o -path '*service/page/*' -o -path '*pretrained*.md' | sort)
CHECKED := $(LIBRARY) $(shell find tests benchmarks tools -name '*.py' | sort) data_download.py $(shell find chapters experiments workflow -type f | sort)
SIMULATOR := $(wildcard cellcount_lib/data/simulate.py cellcount_lib/data/simulator/*.py)
PAGES := $(shell find book -name '*.md' -o -name '*.yml' -o -name '*.bib' -o -name '*.css' -o -name '*.py' | grep -vE '_build|_generated|book/chapters' | sort)
RESULTS := $(shell find results -type f | sort)
# the scale of the chapters that train: smoke, laptop, study, gpu, paper
PROFILE ?= laptop
# what `make speedrun` trains on
DATA ?= simulated
# the rooms of the library that `make mutants` changes
ROOMS ?= postprocess losses scoring

.DELETE_ON_ERROR:
.PHONY: help book chapters slides pdf test test-fast test-lifecycle mutants lint bench speedrun install report numbers release-check model clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

book: .make/book ## everything from nothing to the rendered book
	$(SUMMARY)
	@echo "Open book/_build/html/index.html"

chapters: .make/installed ## the chapters, executed where something changed, with outputs to commit
	$(STEP) "Chapters" -- $(BIN)/python tools/chapters.py --keep

pdf: .make/book ## the book as one PDF, printed by Chromium
	$(STEP) "PDF" -- $(BIN)/python -m tools.pdf
	@echo "Open book/_build/html/the-cell-counting-book.pdf"

slides: .make/book ## a slide deck per chapter, one file each that needs no network
	@echo "Open book/_build/html/slides/01_data.html, or another of that folder"

test: .make/lint .make/tests ## every check (lint, types, tests)
	$(SUMMARY)

lint: .make/lint ## ruff (lint, format) and mypy
	$(SUMMARY)

bench: .make/installed ## time everything against its reference implementation (a few minutes)
	$(STEP) "Benchmarks" -- $(BIN)/python -m benchmarks.run --out results/bench.md

speedrun: .make/installed ## minutes until a training is good, for every entry; DATA=NAME[=DATASET] ... (ten minutes for each; goes on where it stopped)
	$(STEP) "Time to quality" -- $(BIN)/python -m benchmarks.speedrun --data $(DATA)

install: .make/installed ## the environment only
	$(SUMMARY)

report: .make/installed ## the simulator against the published figures, measured again
	$(STEP) "The simulator against the published data" -- $(BIN)/cellcount simulate --report --tables results

numbers: .make/installed ## type the numbers in chapters and pages again, after tables have changed
	$(STEP) "Numbers in prose" -- $(BIN)/python tools/quoted_numbers.py --write

release-check: .make/installed ## what has to be set before a release: address, DOI, name
	@$(BIN)/python tools/release_check.py

model: .make/installed ## train the models that come with the project again (DATA=folder of pictures; an hour)
	$(STEP) "The model of neurons" -- $(BIN)/python -m tools.ship_model neurons --data $(DATA)
	$(STEP) "The models of nuclei" -- $(BIN)/python -m tools.ship_model nuclei --data $(DATA)
	$(STEP) "The models of nuclei" -- $(BIN)/python -m tools.ship_model nuclei-flows --data $(DATA)

clean: ## remove the environment and everything built
	rm -rf $(VENV) .make book/_build book/_generated book/chapters build *.egg-info

.make/venv:
	@mkdir -p .make
	$(STEP) "Check Python" -- $(PYTHON) tools/check_python.py
	$(STEP) "Create $(VENV)" -- $(PYTHON) -m venv --clear $(VENV)
	@touch $@

.make/installed: .make/venv pyproject.toml constraints.txt
	$(STEP) "Install the packages (3 GB the first time)" -- \
		$(BIN)/python -m pip install --disable-pip-version-check $(QUIET) \
		-c constraints.txt -e ".[book,dev,hpc]"
	@touch $@

.make/lint: .make/installed $(CHECKED) pyproject.toml
	$(STEP) "Lint" -- $(BIN)/ruff check .
	$(STEP) "Format" -- $(BIN)/ruff format --check .
	$(STEP) "Types" -- $(BIN)/mypy
	@touch $@

# Three workers for two cores, since some tests wait for kernels and queues; a thread each: threads
# that wait for each other's cores crawl. What has passed is kept, so that an interrupted run goes on
# with the other tests.
PYTEST := env OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3

.make/tests: .make/installed $(CHECKED) $(PAGES) $(RESULTS) pyproject.toml constraints.txt README.md environment.yml results/calibration.csv
	$(STEP) "Tests" -- env CELLCOUNT_TESTS_GO_ON=.make/passed.txt $(PYTEST)
	@touch $@

test-fast: .make/lint ## lint and the unit tests of what changed since the last commit (a minute or two)
	$(STEP) "Tests of what changed" -- $(BIN)/python tools/changed.py -- $(PYTEST)

test-lifecycle: .make/installed ## minutes, once per release: the service killed again and again, the real Label Studio
	$(STEP) "Life cycle" -- env OMP_NUM_THREADS=1 $(BIN)/python -m tools.lifecycle results/lifecycle.md

mutants: .make/installed ## change ROOMS in 200 places, one at a time: do the tests notice? (an hour)
	@env OMP_NUM_THREADS=1 $(BIN)/python -m tools.mutants $(ROOMS) --sample 200

results/calibration.csv: $(SIMULATOR) | .make/installed
	$(STEP) "The simulator against the published data" -- $(BIN)/cellcount simulate --report --tables results

.make/book: .make/installed .make/profile-$(PROFILE) $(PAGES) $(LIBRARY) $(RESULTS) $(wildcard chapters/*.ipynb) results/calibration.csv tools/book_pages.py tools/findings.py tools/chapters.py
	$(STEP) "Chapters (minutes where one is executed)" -- $(BIN)/python tools/chapters.py --profile $(PROFILE)
	$(STEP) "Figures and tables" -- $(BIN)/python -m tools.book_pages
	$(STEP) "Render the book" -- $(BIN)/jupyter-book build book -W --keep-going -q
	@touch $@

# another profile is another book
.make/profile-%:
	@mkdir -p .make && rm -f .make/profile-* && touch $@
