# SPDX-License-Identifier: GPL-2.0
# Every command of the project; each is one script of scripts/.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
S := scripts

# Recipes follow the order of the help text
help:
	@sed -n 's/^#: \{0,1\}//p' Makefile

#: Usage: make TARGET [VARIABLE=value]
#:
#: The main job
.PHONY: run
#:   run           get Linux, apply the series, build, boot in QEMU, run the kselftests
#:                 (first time about 12 minutes on 2 CPUs, then 1)
run:
	@$(S)/run

.PHONY: check
#:   check         everything that has to hold before a change is kept
#:                 (stops after 85 minutes; run again, it goes on where it was)
check:
	@$(S)/check

.PHONY: test
#:   test T=name   one guest scenario of configs/scenarios/ on the patched kernel;
#:                 VARIANT=base for the unpatched one (about 1 minute)
test:
	@$(S)/setup && $(S)/run-tests "$(or $(VARIANT),series)" "$(T)"

.PHONY: bench
#:   bench         instructions per allocation, unpatched and patched, and of kernels of
#:                 the series against each other (six to build, about 7 minutes each
#:                 the first time; counting takes minutes), in guests of up to 18 GiB
bench:
	@$(S)/bench

.PHONY: storm
#:   storm         the same mixed load on several kernels: which keeps whole gigabytes?
#:                 MEMORY_MIB= (16384) ROUNDS= (10) ROUND_SECONDS= (16) SEED= (1)
#:                 KERNELS="name ..." (all); about 7 minutes a kernel
storm:
	@$(S)/storm $(if $(MEMORY_MIB),--memory-mib "$(MEMORY_MIB)") $(if $(ROUNDS),--rounds "$(ROUNDS)") \
		$(if $(ROUND_SECONDS),--seconds "$(ROUND_SECONDS)") $(if $(SEED),--seed "$(SEED)") \
		$(if $(KERNELS),--kernels "$(KERNELS)")

.PHONY: map
#:   map           draw the gigabytes of the last storm, in the terminal and as HTML
map:
	@$(S)/map

#:
#: In the guest
.PHONY: shell
#:   shell         a shell in the guest; MEMORY_MIB= sets its memory in MiB (4096)
shell:
	@$(S)/setup && $(S)/guest-shell

.PHONY: gdb
#:   gdb           the same, waiting for gdb on local port 1234
gdb:
	@$(S)/setup && $(S)/guest-shell gdb

.PHONY: debug
#:   debug         the tests under KASAN, lockdep and DEBUG_VM (10 minutes to build, 3 to run)
debug:
	@$(S)/setup && $(S)/run-tests series kselftests-debug

#:
#: The series
.PHONY: apply
#:   apply LINUX=tree    put the series into a kernel tree of yours
apply:
	@$(S)/setup && $(S)/apply "$(LINUX)"

.PHONY: unapply
#:   unapply LINUX=tree  take it out again
unapply:
	@$(S)/setup && $(S)/apply --undo "$(LINUX)"

.PHONY: tree
#:   tree          check the series out as commits, one a patch, and say where
tree:
	@$(S)/setup && $(S)/make-tree series && $(S)/tree-path

.PHONY: export
#:   export        write the commits of that tree back to patches/
export:
	@$(S)/export-series

.PHONY: series-check
#:   series-check  the checks that need no kernel build (3 minutes)
series-check:
	@$(S)/setup && $(S)/fetch-base && $(S)/check-files && $(S)/check-series

.PHONY: port
#:   port LINUX=tree     which patches apply to another version (1 second)
port:
	@$(S)/port "$(LINUX)"

#:
#: Sending
.PHONY: mbox
#:   mbox          the mails, a folder a topic; TOPIC= for one
mbox:
	@$(S)/setup && $(S)/make-mbox "$(TOPIC)"

.PHONY: send-dry-run
#:   send-dry-run  hand the mails to git send-email, send nothing
send-dry-run:
	@$(S)/setup && $(S)/send-dry-run "$(TOPIC)"

#:
.PHONY: tables
#:   tables        write the tables of README.md from the last results
tables:
	@$(S)/update-readme

.PHONY: record
#:   record        write patches/record: what the last make check built, booted and
#:                 mutated need not be repeated elsewhere (RECORD=0 make check does)
record:
	@$(S)/update-record

.PHONY: clean
#:   clean         remove builds and results; sources and compiler cache stay
clean:
	@$(S)/clean-cache

.PHONY: help
#:   help          this text
#:
#: Variables: SPB_CACHE  where everything is kept (~/.cache/superpageblock, 12 GiB)
#:            LINUX      a kernel tree or tarball to use instead of fetching one
#:            JOBS       compile jobs (as many as CPUs)
#:            ACCEL      kvm or tcg; probed unless given
#: Exit codes: 0 passed, 1 a test failed, 2 the kernel broke, 3 timed out, 4 set-up.
#: make itself shows these as "Error N" and exits with 2.

.DEFAULT:
	@echo "error: no target $@; the targets are: $(shell sed -n 's/^\.PHONY: //p' Makefile | tr '\n' ' ')" >&2
	@exit 4
