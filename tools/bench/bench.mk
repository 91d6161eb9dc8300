# What `make bench` builds: the load generator and the floor, two programs for this machine that are linked into nothing else.
BENCH = build/bench
BENCH_PROGRAMS = $(BENCH)/load $(BENCH)/floor
BENCH_FLAGS = $(LANGUAGE) $(WARNINGS) -O2 -g -D_GNU_SOURCE

$(BENCH)/load: $(addprefix tools/bench/,load.cpp conns.cpp conns.h child.cpp child.h)
$(BENCH)/floor: tools/bench/floor.cpp
$(BENCH_PROGRAMS): tools/bench/bench.mk
	@echo "  c++ $@"
	@mkdir -p $(@D)
	@$(CC) $(BENCH_FLAGS) -o $@ $(filter %.cpp,$^)
