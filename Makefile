# `make demo` records and explains a small study, `make test` runs every test. Each target makes the environment in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TO_BENCH := $(VENV)/.ready-to-bench
READY_FOR_TRAINERS := $(VENV)/.ready-for-trainers
READY_FOR_DOCS := $(VENV)/.ready-for-docs
HOROVOD := build/horovod
READY_FOR_HOROVOD := $(HOROVOD)/.ready
TENSORFLOW := build/tensorflow
READY_FOR_TENSORFLOW := $(TENSORFLOW)/.ready
# Recorded traces of other tools, which the tests read where they lie beside this folder.
TRACES := $(wildcard ../shared/traces)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-pages trainers test-horovod test-tensorflow test-slurm samples-tensorflow docs docs-output docs-figures lint bench bench-peers growth predictions samples samples-horovod reports screenshots strategies torture torture-peers whatif-proof fuzz

demo: $(READY)
	$(BIN)/scaleprof demo --out build/demo

# What only computes runs on all cores; what records jobs has them for itself afterwards. Exit code 5 says that ARGS choose nothing in one of both.
test: export SCALEPROF_TRACES := $(or $(SCALEPROF_TRACES),$(abspath $(TRACES)))
test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not long and not alone" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m "alone and not long" $(ARGS) || [ $$? -eq 5 ]

# What takes long: in a browser paper, keys and reports on runs that lack something, and exports in Perfetto itself. `make test` leaves these out.
test-pages: $(READY)
	$(if $(TRACES),SCALEPROF_TRACES=$(abspath $(TRACES))) $(BIN)/python -m pytest -m long tests/render tests/export $(ARGS)

# The callbacks with the real Lightning, Transformers and Accelerate; `make test` runs these tests too where they are installed.
trainers: $(READY_FOR_TRAINERS)
	$(BIN)/python -m pytest -m trainers $(ARGS)

# Horovod, built from its source against the torch in use: ten minutes of a core, once. Trains on 1 to 4 ranks of this machine and analyzes that.
test-horovod: $(READY_FOR_HOROVOD)
	$(HOROVOD)/bin/python -m pytest -m horovod tests/horovod $(ARGS)

# TensorFlow for the CPU and both Keras, in an environment of their own (1.7 GB). Trains on two processes of this machine and analyzes that.
test-tensorflow: $(READY_FOR_TENSORFLOW)
	$(TENSORFLOW)/bin/python -m pytest -m tensorflow tests/tensorflow $(ARGS)

# Sweeps as jobs of a real SLURM, whose daemons run on this machine alone while the tests do. Installs them with apt where they are not, as root.
test-slurm: $(READY)
	command -v slurmctld slurmd munged >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd munge)
	SCALEPROF_SLURM=1 $(BIN)/python -m pytest -m slurm tests/launch $(ARGS)

# The site from docs/, with its notebook run, into build/docs.
docs: $(READY_FOR_DOCS)
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo build/docs/index.html

# What the commands in docs/ print now, and the figures there, from the example reports.
docs-output: $(READY)
	$(BIN)/python -m tests.docs.blocks

docs-figures: $(READY)
	$(BIN)/python -m tests.docs.figures

# The small recording of such a job that is committed.
samples-tensorflow: $(READY_FOR_TENSORFLOW)
	rm -rf sample_traces/tensorflow-*
	$(TENSORFLOW)/bin/python -m tests.tensorflow.sample sample_traces

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY_TO_BENCH)
	$(BIN)/python benchmarks/read_speed.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python -m benchmarks.report

# Makes an environment for the peer in build/bench first. ARGS=--large measures 500 MB too, which takes minutes.
bench-peers: $(READY)
	$(BIN)/python benchmarks/peers.py $(ARGS)

# CPU seconds and memory of combining 64 to 4,096 ranks, table and picture: half an hour, 11 GB of disk. ARGS="--sizes 64 256" is minutes.
growth: $(READY)
	$(BIN)/python -m benchmarks.growth $(ARGS)

# Larger sizes of published curves predicted from smaller ones, beside Amdahl, USL and Extra-P, for which it makes an environment in build/bench first.
CURVES ?= ../shared
predictions: $(READY)
	$(BIN)/python -m benchmarks.predictions $(CURVES) $(ARGS)

# Predicted steps beside those of jobs that were really changed: records for three minutes. ARGS=--recorded takes what is committed alone.
whatif-proof: $(READY)
	$(BIN)/python -m benchmarks.whatif $(ARGS)

# Seeds are printed: what one of them made is made and read again with `.venv/bin/python -m benchmarks.fuzz 0 SEED`.
SECONDS ?= 60
fuzz: $(READY)
	$(if $(TRACES),SCALEPROF_TRACES=$(abspath $(TRACES))) $(BIN)/python -m benchmarks.fuzz $(SECONDS)

# Gradient compression on links of other rates than the study's own.
LINKS := 50mbit 1gbit

samples: $(READY)
	rm -rf sample_traces/emulated-*-n?-* sample_traces/on-*-n?-* scaleprof/launch/demo_study/emulated-*
	$(BIN)/python -m scaleprof.launch.study --out sample_traces --link 200mbit --redact
	$(BIN)/python -m scaleprof.launch.strategies --out sample_traces --link 200mbit --redact
	for link in $(LINKS); do $(BIN)/python -m scaleprof.launch.strategies --out sample_traces --link $$link --redact \
		--prefix on-$$link --series compression-$$link --ranks 4 ddp ddp-fp16 ddp-powersgd || exit 1; done
	mkdir -p scaleprof/launch/demo_study
	cp -r sample_traces/emulated-ddp-strong-* sample_traces/emulated-ddp-weak-* scaleprof/launch/demo_study/

samples-horovod: $(READY_FOR_HOROVOD)
	$(HOROVOD)/bin/python -m tests.horovod.samples sample_traces

# The example reports, each from recordings that are here.
reports: $(READY)
	$(BIN)/scaleprof analyze sample_traces/emulated-* sample_traces/on-* -o reports/sample.html --json reports/sample.json --quiet
	$(BIN)/scaleprof analyze sample_traces/gpu-* sample_traces/nccl-* -o reports/gpu.html --json reports/gpu.json --quiet
	$(BIN)/scaleprof analyze sample_traces/horovod-* -o reports/horovod.html --json reports/horovod.json --quiet

# Pictures of the sample report, section by section and on paper, into build/screenshots; its first screen is the picture in the README.
screenshots: $(READY)
	$(BIN)/python -m tests.render.screenshots reports/sample.html build/screenshots reports/sample.png

# Records one small job for each strategy, and writes what was recorded beside what was worked out by hand.
strategies: $(READY)
	rm -rf build/strategies
	$(BIN)/python -W ignore -m tests.collect.zoo build/strategies table > build/strategies.md
	(cat tests/collect/zoo/ABOUT.md build/strategies.md) > tests/collect/zoo/README.md

# Faults of every kind in synthetic jobs, and whether they are found: minutes. ARGS="--seeds 1" is half of it.
torture: $(READY)
	mkdir -p build
	$(BIN)/python -m tests.torture $(ARGS) > build/torture.md
	(cat tests/torture/ABOUT.md build/torture.md) > tests/torture/README.md

# Two other tools on the same files; makes an environment for each in build/bench first, and records what HTA says of real traces.
torture-peers: $(READY)
	mkdir -p build
	$(if $(TRACES),SCALEPROF_TRACES=$(abspath $(TRACES))) $(BIN)/python -m tests.torture --peers $(ARGS) > build/torture-peers.md
	(cat tests/torture/ABOUT_PEERS.md build/torture-peers.md) > tests/torture/PEERS.md

# A torch that the Python in use has already is kept, whatever its build: the environment then sees that Python's packages.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $$($(PYTHON) -c "import torch" 2>/dev/null && echo --system-site-packages) $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation \
		--editable ".[dev$$($(BIN)/python -c 'import torch' 2>/dev/null || echo ,torch)]"
	touch $@

$(READY_TO_BENCH): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation --editable ".[bench]"
	touch $@

$(READY_FOR_TRAINERS): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation --editable ".[trainers]"
	touch $@

$(READY_FOR_DOCS): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation --editable ".[docs]"
	touch $@

# Of 2023, and the last release: it needs a setuptools and a cmake of before it would be refused. Everything else is seen in the other environment.
HOROVOD_NEEDS := cloudpickle==3.1.2 cmake==3.31.10 setuptools==80.9.0 wheel==0.45.1
PURELIB := import sysconfig; print(sysconfig.get_path("purelib"))
$(READY_FOR_HOROVOD): $(READY) tests/horovod/c++20
	$(BIN)/python -m venv $$(grep -q "system-site-packages = true" $(VENV)/pyvenv.cfg && echo --system-site-packages) $(HOROVOD)
	echo "import site; site.addsitedir('$$($(BIN)/python -c '$(PURELIB)')')" \
		> $$($(HOROVOD)/bin/python -c '$(PURELIB)')/scaleprof-environment.pth
	$(HOROVOD)/bin/python -m pip install --quiet $(HOROVOD_NEEDS)
	$(HOROVOD)/bin/python -m pip install --quiet -c constraints.txt pyyaml packaging psutil
	PATH="$(abspath $(HOROVOD))/bin:$$PATH" CXX="$(abspath tests/horovod/c++20)" HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
		HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_CPU_OPERATIONS=GLOO \
		$(HOROVOD)/bin/python -m pip install --quiet --no-build-isolation --no-deps horovod==0.28.1
	touch $@

$(READY_FOR_TENSORFLOW): pyproject.toml constraints.txt
	test -x $(TENSORFLOW)/bin/python || $(PYTHON) -m venv $(TENSORFLOW)
	$(TENSORFLOW)/bin/python -m pip install --quiet -c constraints.txt hatchling editables
	$(TENSORFLOW)/bin/python -m pip install --quiet -c constraints.txt --no-build-isolation --editable ".[test,tensorflow-tests]"
	touch $@
