# The load generator, a tool of its own, and what `make bench` needs besides: the floor, the start meter and the maker of large
# databases. All for this machine; none is part of the program. The seed alone links the program's own code, for its schema.
LOAD = build/load
BENCH = build/bench
BENCH_PROGRAMS = $(LOAD) $(BENCH)/floor $(BENCH)/start $(BENCH)/seed $(patsubst tools/bench/%.cpp,$(BENCH)/%,$(wildcard tools/bench/store_bench.cpp))
BENCH_FLAGS = $(LANGUAGE) $(WARNINGS) -O2 -g -D_GNU_SOURCE

$(LOAD): $(wildcard tools/load/*.cpp tools/load/*.h) $(DEPS_STAMP)
$(BENCH)/floor: $(addprefix tools/bench/,floor.cpp floor_alone.cpp floor_send.cpp floor_send.h)
$(BENCH)/start: $(addprefix tools/,bench/start.cpp load/http.cpp load/http.h load/measure.cpp load/measure.h)
$(LOAD) $(BENCH)/floor $(BENCH)/start: tools/bench/bench.mk
	@echo "  c++ $@"
	@mkdir -p $(@D)
	@$(CC) $(BENCH_FLAGS) -Itools/load -isystem $(DEPS)/usr/include -o $@ $(filter %.cpp,$^) $(if $(filter $(LOAD),$@),$(LIB)/libz.a)

$(BENCH)/seed: tools/bench/seed.cpp $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  c++ $@"
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CXXFLAGS) -o $@ $< $(ARCHIVE) $(FOREIGN_ARCHIVE) $(LIBS)
