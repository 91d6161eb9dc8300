# ChatterBox: one program from src/ and assets/, everything it makes under build/. `make help` lists the targets.
#
# Three kinds of build share these rules, each in its own folder OUT:
#   dev      build/             glibc and Debian's static libraries, one static executable
#   asan     build/asan/        the same sources with AddressSanitizer and UndefinedBehaviorSanitizer, dynamic glibc
#   release  build/release/obj-ARCH/   musl and our own small builds of the libraries (tools/release)
# Nothing depends on the clock or on the folder: two builds of one commit are the same bytes.

VERSION = 0.1.0
# The day of the release, 2026-11-22 00:00 UTC, in ms since 1970. A fixed number, since a build must be repeatable.
DATE_MS = 1795305600000

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
# As many jobs as processors, unless -j says otherwise; `make clean all` must keep its order. An inner make gets its
# jobs from the outer one.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS))$(filter %clean,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif

HOST := $(shell dpkg --print-architecture 2>/dev/null || uname -m)
NAMED_ARCH := $(ARCH)
ARCH ?= $(HOST)
KIND ?= dev
OUT ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
ifneq ($(findstring clang,$(CXX)),)
ifeq ($(origin CC),file)
CC := $(subst clang++,clang,$(CXX))
endif
endif
STRIP = strip

TRIPLET_amd64 = x86_64-linux-gnu
TRIPLET_arm64 = aarch64-linux-gnu
TRIPLET_armhf = arm-linux-gnueabihf
TRIPLET_riscv64 = riscv64-linux-gnu
TRIPLET_mipsel = mipsel-linux-gnu
TRIPLET = $(TRIPLET_$(ARCH))

# ---------------------------------------------------------------- flags

# No exceptions, no RTTI, no libstdc++: the C driver links, which proves it (the release has no C++ library at all).
LANGUAGE = -std=c++20 -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-strict-aliasing
WARNINGS = -Wall -Wextra -Werror
HARDEN = -fPIE -fstack-protector-strong -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
COMMON = -g -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=. $(HARDEN)
GCSECTIONS = -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--build-id=none

# SQLite is compiled from Debian's source in every kind of build: its static library would bring 500 KB that we never
# call (mathematics, loading of extensions) and lacks the heap with a hard bound (MEMSYS5), without which musl's malloc
# maps and unmaps memory for each of SQLite's blocks. The rest is as SQLite's page on compile-time options advises.
SQLITE_FLAGS = -DSQLITE_DQS=0 -DSQLITE_THREADSAFE=2 -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_DEFAULT_WAL_SYNCHRONOUS=1 \
    -DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DSQLITE_MAX_EXPR_DEPTH=0 -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_SHARED_CACHE \
    -DSQLITE_USE_ALLOCA -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_TEMP_STORE=2 -DSQLITE_ENABLE_MEMSYS5 \
    -DHAVE_USLEEP=1 -DHAVE_FDATASYNC=1 -DUSE_PREAD

ifeq ($(KIND),release)
DEPS = build/deps/src
DEPS_STAMP = $(LIBS_DIR)/stamp
VERSIONS = $(LIBS_DIR)/versions
LIBS_DIR = build/release/lib-$(ARCH)
include tools/release.mk
else
DEPS = build/deps/$(ARCH)
DEPS_STAMP = $(DEPS)/stamp
VERSIONS = $(DEPS)/versions
LIB = $(DEPS)/usr/lib/$(TRIPLET)
SQLITE = build/deps/libsqlite3-$(ARCH).a
LIBS = $(LIB)/libuv_a.a $(SQLITE) $(LIB)/libsodium.a $(LIB)/libz.a $(LIB)/libutf8proc.a \
    $(LIB)/libqrcodegen.a -lm -lpthread
INCLUDES = -isystem $(DEPS)/usr/include -isystem $(DEPS)/usr/include/$(TRIPLET) \
    -isystem $(DEPS)/src/wslay -isystem $(DEPS)/src/llhttp -isystem $(DEPS)/src/sqlite3
FOREIGN_INCLUDES = $(INCLUDES)
ifeq ($(KIND),fuzz)
SANITIZE = -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer \
    -fsanitize-ignorelist=tests/fuzz/ignore
OPTIMIZE = -O1 $(SANITIZE) -fsanitize=fuzzer-no-link -DCB_SANITIZED=1
# libFuzzer is C++ itself: the one place where the C++ driver links.
LINK_FUZZ = $(CXX) $(SANITIZE) -fsanitize=fuzzer -Wl,--gc-sections
else ifeq ($(KIND),asan)
# vptr needs RTTI, which is off; alignment is checked for us on the boards that mind.
SANITIZE = -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer
OPTIMIZE = -O1 $(SANITIZE) -DCB_SANITIZED=1
LINK = $(CC) $(SANITIZE) -pie
else ifneq ($(filter tsan valgrind coverage,$(KIND)),)
# For tools/instrumented: dynamic, so that what watches can take the place of glibc's functions. libuv and SQLite stay as they are: their locks are
# glibc's, which ThreadSanitizer sees. Not confined, since valgrind knows neither Landlock nor our list of calls, and gcov writes its files where it likes.
SANITIZE_tsan = -fsanitize=thread -fno-omit-frame-pointer
SANITIZE_coverage = --coverage -fprofile-update=atomic
SANITIZE = $(SANITIZE_$(KIND))
OPTIMIZE = $(if $(filter coverage,$(KIND)),-O0,-O1) $(SANITIZE) -DCB_SANITIZED=1
LINK = $(CC) $(SANITIZE) -pie
else ifeq ($(KIND),mutate)
# tools/mutate changes one file at a time: ours is a shared library here, so that one link serves every test program. A mutant may well cause a warning.
OPTIMIZE = -O1 -fsanitize=address -DCB_SANITIZED=1
COMMON = -fPIC -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -ffile-prefix-map=$(CURDIR)=. -w
LINK = $(CC) -fsanitize=address -Wl,-rpath,'$(CURDIR)/$(OBJ)'
else
OPTIMIZE = -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fno-asynchronous-unwind-tables
# glibc has the start code of a static-pie (rcrt1.o) only on these.
LINK = $(CC) $(if $(filter amd64 arm64,$(ARCH)),-static-pie,-static) $(GCSECTIONS)
# ld warns that getpwuid_r and dlopen want glibc's shared parts at run time: libuv's home directory and SQLite's
# extensions, neither of which we ever call.
LINK += -Wl,--no-warnings
endif
LINK_TEST = $(if $(filter mutate,$(KIND)),$(LINK),$(CC) $(SANITIZE) -pie -Wl,--gc-sections)
endif

CPPFLAGS = -Isrc -I$(OUT) -I$(OUT)/gen $(INCLUDES)
CXXFLAGS = $(LANGUAGE) $(WARNINGS) $(OPTIMIZE) $(COMMON)
# Other people's C: their warnings are not ours to mend. Strict mode is what makes llhttp refuse smuggled requests.
CFLAGS = -w $(OPTIMIZE) $(COMMON) -DLLHTTP_STRICT_MODE=1 -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H
# When there is no memory for a context, wslay 1.1.1 gives it back half made, and an assert of its own stops the process.
WSLAY_FLAGS = -DNDEBUG

# ---------------------------------------------------------------- files

SOURCES := $(sort $(wildcard src/*.cpp src/*/*.cpp))
ASSETS := $(sort $(filter-out %~,$(wildcard assets/*.*)))
SCHEMA := $(wildcard src/store/schema.sql)

OBJ = $(OUT)/obj
OBJECTS = $(SOURCES:src/%.cpp=$(OBJ)/%.o) $(OBJ)/gen/embedded.o $(OBJ)/gen/assets.o
LIBRARY_OBJECTS = $(filter-out $(OBJ)/main.o,$(OBJECTS))
FOREIGN_NAMES = wslay/wslay_event wslay/wslay_frame wslay/wslay_net wslay/wslay_queue \
    llhttp/api llhttp/http llhttp/llhttp
FOREIGN = $(FOREIGN_NAMES:%=$(OBJ)/foreign/%.o)
ARCHIVE = $(OBJ)/libchatterbox.$(if $(filter mutate,$(KIND)),so,a)
FOREIGN_ARCHIVE = $(OBJ)/libforeign.a

UNIT = $(OUT)/unit
SLOW_SERVER = $(OUT)/tests/chatterbox-slow
STORE_BENCH = build/bench/store_bench
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.cpp))
UNIT_SHARED := $(filter-out $(UNIT_SOURCES),$(sort $(wildcard tests/unit/*.cpp)))
UNIT_PROGRAMS = $(UNIT_SOURCES:tests/unit/%.cpp=$(UNIT)/%)
UNIT_OBJECTS = $(UNIT_SHARED:tests/unit/%.cpp=$(UNIT)/obj/%.o)

# ---------------------------------------------------------------- what people type

.PHONY: all help run lib unit test conform ws-echo check tidy bench bench-quick bench-programs load faults fuzz flood sim release test-release install clean distclean FORCE

all: $(OUT)/chatterbox ## build the program: build/chatterbox (the default)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: all ## build, then serve on 127.0.0.1:8000 with the data in ./data
	$(OUT)/chatterbox serve --listen 127.0.0.1:8000 --data ./data

test: ## install what the tests need, then run them all (unit, conversations, browser, crash)
	tools/deps --test
	$(MAKE) all unit-programs fault-programs ws-echo
	tools/test

check: ## the whole suite again, with AddressSanitizer and UndefinedBehaviorSanitizer
	tools/deps --test
	$(MAKE) KIND=asan OUT=build/asan all unit-programs fault-programs ws-echo
	OUT=build/asan tools/test

unit: unit-programs ## only the unit tests and tidy's quick checks
	OUT=$(OUT) tools/unit

ws-echo: $(OUT)/tests/ws_echo ## the WebSocket echo server that conformance suites talk to: build/tests/ws_echo

conform: all ws-echo ## every case of WebSocket and HTTP conformance, the long ones too (minutes)
	CONFORM=full node tests/run.mjs conform

.PHONY: check-threads check-valgrind coverage cppcheck mutate
check-threads: fault-programs ## unit tests, conversations and crash tests with ThreadSanitizer
	tools/deps --test
	tools/instrumented threads

check-valgrind: ## unit tests, conversations, conformance and crash tests under valgrind's memcheck (long; PART=1/4 takes the first of four parts)
	tools/deps --test
	tools/deps --tools valgrind=valgrind
	tools/instrumented valgrind

coverage: fault-programs ## what the tests reach of src/, file by file, and what they do not: build/coverage
	tools/deps --test
	tools/deps --tools gcovr=gcovr
	tools/instrumented coverage

mutate: ## flip COUNT=200 conditions one at a time (SEED=1): do the quick tests notice? FOR=80 stops after so many seconds, again goes on; EDGES=1 draws bounds and sums
	tools/deps --test
	tools/mutate

cppcheck: $(OUT)/gen/version.h $(OUT)/gen/common_passwords.h ## cppcheck over src/
	@tools/deps --tools cppcheck=cppcheck
	@OUT=$(OUT) tools/cppcheck

tidy: $(OUT)/gen/version.h $(OUT)/gen/common_passwords.h $(DEPS_STAMP) cppcheck ## clang-tidy, cppcheck and the house rules (tools/tidy)
	@tools/deps --tools clang-tidy=clang-tidy
	@tools/tidy
	@tools/clang-tidy $(LANGUAGE) $(WARNINGS) $(CPPFLAGS) $(HARDEN)

include tools/bench/bench.mk
bench: bench-programs ## measure it against its targets, beside other servers (under 15 minutes)
	tools/bench/run

bench-quick: bench-programs ## the same, smaller, in two minutes
	QUICK=1 tools/bench/run

bench-programs: all $(BENCH_PROGRAMS)

load: $(LOAD) ## the load generator: build/load --help

faults: all fault-programs ## everything that can fail fails once: the n-th allocation, write, fsync … (20 minutes; in `make test` a few of each)
	FAULTS=all CHATTERBOX=$(CURDIR)/$(OUT)/chatterbox node tests/run.mjs faults

CUTS = 1000
power-cut: all fault-programs ## cut the power at a thousand moments of each of four loads: is all that was told still there? (CUTS=1000; in `make test` 30)
	POWER_CUTS=$(CUTS) CHATTERBOX=$(CURDIR)/$(OUT)/chatterbox node tests/run.mjs power-cut

.PHONY: power-cut store-bench slow-storage
store-bench: $(STORE_BENCH) ## our writer beside a bare SQLite loop, without a network
	$(STORE_BENCH) compare build/bench/store

slow-storage: $(SLOW_SERVER) $(LOAD) ## what storage that syncs slowly costs (0, 20, 200 ms more each sync)
	tools/bench/slow-storage

.PHONY: fuzz-proof fuzz-corpus sim-proof
SECONDS = 60
T =
fuzz: ## fuzz what reads from strangers, a minute each (T=ws SECONDS=1200: one, longer); needs clang
	FUZZ_SECONDS=$(SECONDS) tools/fuzz $(T)

fuzz-proof: ## each fuzz target finds a bug that is planted into a copy of the code it tests
	tools/fuzz proof $(T)

fuzz-corpus: ## what fuzzing has found is minimised into tests/fuzz/corpus
	tools/fuzz corpus $(T)

sim: $(OUT)/sim/run $(OUT)/sim/differ ## simulate: SEED=1 STEPS=300 one seed with a trace, SEEDS=10000 that many (1000)
	@OUT=$(OUT) tests/sim/many

sim-proof: ## the simulation finds each bug that is planted into a copy of the code (T=skips-a-reader: one)
	@OUT=$(OUT) tests/sim/proof $(T)

flood: all ## attack it in twelve ways beside good clients; p99 at most doubled, memory under its bound? (ROUNDS=3 SECONDS=10 SCALE=300; 15 minutes)
	node tests/flood/run.mjs $(T)

release: ## small static files for boards, build/release/ (ARCH=arm64 makes one, else all five)
	tools/release $(NAMED_ARCH)

test-release: ## run the release files, each in an empty root (the foreign ones under qemu-user)
	tools/test-release $(NAMED_ARCH)

DESTDIR ?=
PREFIX ?= /usr/local
install: all ## the program, man page, service files, to DESTDIR and PREFIX
	tools/install '$(OUT)/chatterbox' '$(DESTDIR)' '$(PREFIX)'

clean: ## remove what was built; the fetched libraries stay
	rm -rf build/obj build/gen build/unit build/sim build/tests build/asan build/fuzz build/bench build/load build/planted build/chatterbox build/chatterbox.debug \
	    build/release/obj-* build/release/chatterbox-* build/release/SHA256SUMS build/release/LIBRARIES

distclean: ## remove build/ altogether; ./data is never touched
	rm -rf build

lib: $(ARCHIVE) # everything but main, for tests

# ---------------------------------------------------------------- how it is made

$(OUT)/chatterbox: $(OUT)/chatterbox.debug
	@$(if $(filter-out dev mutate release,$(KIND)),cp $< $@,$(STRIP) -o $@ $<)

$(OUT)/chatterbox.debug: $(OBJ)/main.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK) -o $@ $(LINK_START) $(filter-out $(SQLITE),$^) $(LIBS) $(LINK_END)

# An archive is made anew, else it would keep the objects of deleted sources.
$(OBJ)/libchatterbox.a: $(LIBRARY_OBJECTS)
	@rm -f $@
	@$(AR) rcsD $@ $^
$(OBJ)/libchatterbox.so: $(LIBRARY_OBJECTS)
	@$(CC) -shared -o $@ $^

$(FOREIGN_ARCHIVE): $(FOREIGN)
	@rm -f $@
	@$(AR) rcsD $@ $^

$(DEPS)/stamp: tools/deps
	@tools/deps $(if $(filter release,$(KIND)),--src) $(ARCH)

# Is FILE's content TEXT? (make writes the file while it expands the recipe, so the folders are made before.)
$(shell mkdir -p $(OUT)/gen $(OBJ) build/deps)
same = $(if $(wildcard $(1)),$(if $(subst x$(file <$(1)),,x$(2))$(subst x$(2),,x$(file <$(1))),,yes))

# Beside the fetched libraries, since it too is made once and serves every folder OUT of the machine.
ifneq ($(SQLITE),)
SQLITE_COMPILE = gcc -w -O2 -g -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=. $(HARDEN) $(SQLITE_FLAGS)
$(SQLITE): $(DEPS)/stamp $(SQLITE).flags
	@echo "  cc sqlite3 (once)"
	@$(SQLITE_COMPILE) -c -o $(@:.a=.$$PPID.o) $(DEPS)/src/sqlite3/sqlite3.c
	@rm -f $@
	@$(AR) rcsD $@ $(@:.a=.$$PPID.o)
	@rm $(@:.a=.$$PPID.o)
$(SQLITE).flags: FORCE
	$(if $(call same,$@,$(strip $(SQLITE_FLAGS) $(HARDEN))),,$(file >$@,$(strip $(SQLITE_FLAGS) $(HARDEN))))
endif

# Written only when the commands change, so that changed flags compile everything anew and nothing else does.
COMMANDS = $(strip $(CXX) $(CC) $(CPPFLAGS) $(CXXFLAGS) $(CFLAGS) $(WSLAY_FLAGS))
$(OBJ)/commands: FORCE
	$(if $(call same,$@,$(COMMANDS)),,$(file >$@,$(COMMANDS)))

$(OUT)/gen/version.h: tools/version Makefile $(DEPS_STAMP)
	@tools/version $@ $(VERSION) $(DATE_MS) $(VERSIONS)

# A deleted asset changes the list, a changed one its time: both embed anew.
$(OUT)/gen/list: FORCE
	$(if $(call same,$@,$(strip $(ASSETS) $(SCHEMA))),,$(file >$@,$(strip $(ASSETS) $(SCHEMA))))
$(OUT)/gen/embedded.cpp: tools/embed $(OUT)/gen/list $(ASSETS) $(SCHEMA)
	@echo "  embed $(words $(ASSETS)) assets"
	@tools/embed $(OUT)/gen $(ASSETS)
$(OUT)/gen/embedded.S: $(OUT)/gen/embedded.cpp ;

$(OUT)/gen/common_passwords.h: tools/passwords src/chat/passwords.txt $(DEPS_STAMP)
	@tools/passwords $(@D) $(DEPS)/src/django/common-passwords.txt.gz src/chat/passwords.txt

COMPILE_DEPENDS = $(OBJ)/commands $(DEPS_STAMP) | $(OUT)/gen/version.h $(OUT)/gen/common_passwords.h
$(OBJ)/gen/embedded.o: $(OUT)/gen/embedded.cpp $(COMPILE_DEPENDS)
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(OBJ)/gen/assets.o: $(OUT)/gen/embedded.S $(COMPILE_DEPENDS)
	@mkdir -p $(@D)
	@$(CC) -c -o $@ $<
$(OBJ)/foreign/%.o: $(COMPILE_DEPENDS)
	@echo "  cc $*"
	@mkdir -p $(@D)
	@$(CC) $(FOREIGN_INCLUDES) $(CFLAGS) $(if $(findstring wslay/,$*),$(WSLAY_FLAGS)) -c -o $@ $(DEPS)/src/$*.c
$(OBJ)/%.o: src/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/tests/%.o: tests/conform/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/tests/%: $(OUT)/tests/%.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) -o $@ $(filter-out $(SQLITE),$^) $(LIBS)

# Fuzz targets: with libFuzzer (KIND=fuzz), the same with a planted bug's file before the archive's (tools/fuzz writes it), and beside the unit tests with
# replay.cpp, which feeds them the corpus in the tree.
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.cpp))
REPLAY_PROGRAMS = $(FUZZ_SOURCES:tests/fuzz/%.cpp=$(UNIT)/%)
-include $(wildcard $(OUT)/planted/*.d)
$(OUT)/fuzz_%.o: tests/fuzz/fuzz_%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@$(CXX) -Itests/fuzz $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/fuzz_%: $(OUT)/fuzz_%.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_FUZZ) -o $@ $(filter-out $(SQLITE),$^) $(LIBS)
$(OUT)/planted/%.o: $(OUT)/planted/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -Wno-unused -MMD -MP -c -o $@ $<
$(OUT)/planted_%: $(OUT)/fuzz_%.o $(OUT)/planted/%.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_FUZZ) -o $@ $(filter-out $(SQLITE),$^) $(LIBS)
$(UNIT)/obj/%.o: tests/fuzz/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) -Itests/fuzz $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(UNIT)/fuzz_%: $(UNIT)/obj/fuzz_%.o $(UNIT)/obj/replay.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) -o $@ $(filter-out $(SQLITE),$^) $(LIBS)

ifneq ($(KIND),release)
include tests/faults/faults.mk
include tests/crash/crash.mk
endif

# The program on a bad disk, for conversations: the same objects, and a layer below SQLite.
$(OUT)/tests/slow_vfs.o: tests/support/slow_vfs.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(SLOW_SERVER): $(OUT)/tests/slow_vfs.o $(OBJ)/main.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK) -Wl,--wrap=sqlite3_initialize -o $@ $(LINK_START) $(filter-out $(SQLITE),$^) $(LIBS) $(LINK_END)

# Unit tests link dynamically with cmocka, which Debian has only as a shared library.
CMOCKA = -L$(LIB) -lcmocka -Wl,-rpath,'$(CURDIR)/$(LIB)'
.PHONY: unit-programs
unit-programs: $(UNIT_PROGRAMS) $(REPLAY_PROGRAMS) $(SLOW_SERVER)
$(UNIT)/obj/%.o: tests/unit/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) -Itests/unit $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(UNIT)/test_%: $(UNIT)/obj/test_%.o $(UNIT_OBJECTS) $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) -o $@ $(filter-out $(SQLITE),$^) $(LIBS) $(CMOCKA)
include tools/bench/store.mk
.SECONDARY:

include tests/sim/sim.mk

-include $(wildcard $(SIM)/*.d $(SIM)/code/*/*.d $(OBJ)/*.d $(OBJ)/*/*.d $(UNIT)/obj/*.d $(OUT)/fuzz_*.d $(OUT)/tests/*.d)
