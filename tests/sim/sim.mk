# The simulation: chat, net and web compiled anew with small limits (tests/sim/scale), linked with a store, a network and a clock of their own; and the
# comparison of the two stores, which links the real one beside the simulated one under other names (twin.h).
SIM = $(OUT)/sim
SIM_LIMITS = $(SIM)/gen/base/limits.h
SIM_CODE = $(filter src/chat/% src/net/% src/web/%,$(SOURCES))
SIM_OBJECTS = $(SIM_CODE:src/%.cpp=$(SIM)/code/%.o)
SIM_PARTS = sim_main sim_base sim_net sim_server sim_client sim_calls sim_check sim_ledger sim_store sim_life sim_reads
SIM_BASE = $(filter-out $(OBJ)/base/clock.o $(OBJ)/base/worker.o,$(filter $(OBJ)/base/%.o $(OBJ)/gen/%.o,$(OBJECTS)))
SIM_COUNTED = $(if $(filter coverage,$(KIND)),-u __gcov_dump)
SIM_LIBS = $(filter-out %/libuv_a.a %/libqrcodegen.a $(SQLITE),$(LIBS))

$(SIM_LIMITS): src/base/limits.h tests/sim/scale
	@mkdir -p $(@D)
	@tests/sim/scale $< >$@
$(SIM)/code/%.o: src/%.cpp $(SIM_LIMITS) $(COMPILE_DEPENDS)
	@echo "  c++ $< (sim)"
	@mkdir -p $(@D)
	@$(CXX) -I$(SIM)/gen $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(SIM)/%.o: tests/sim/%.cpp $(SIM_LIMITS) $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) -Itests/sim -I$(SIM)/gen $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(SIM)/run: $(SIM_PARTS:%=$(SIM)/%.o) $(SIM_OBJECTS) $(SIM_BASE) $(FOREIGN_ARCHIVE)
	@echo "  link $@"
	@$(LINK_TEST) $(SIM_COUNTED) -o $@ $^ $(SIM_LIBS)

# Planted bugs (tests/sim/proof writes the files): one object stands before the archive that holds the right one.
$(SIM)/libsim.a: $(SIM_OBJECTS)
	@echo "  ar $@"
	@rm -f $@
	@$(AR) rcs $@ $^
$(SIM)/planted/%.o: $(SIM)/planted/%.cpp $(SIM_LIMITS) $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@$(CXX) -I$(SIM)/gen $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<
$(SIM)/planted/%: $(SIM)/planted/%.o $(SIM_PARTS:%=$(SIM)/%.o) $(SIM)/libsim.a $(SIM_BASE) $(FOREIGN_ARCHIVE)
	@$(LINK_TEST) -o $@ $^ $(SIM_LIBS)

SIM_TWINS = sim_store sim_life sim_reads
$(SIM)/twin_%.o: tests/sim/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $< (twin)"
	@mkdir -p $(@D)
	@$(CXX) -DSIM_TWIN -Itests/sim $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(SIM)/differ.o: tests/sim/differ.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) -Itests/sim $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(SIM)/differ: $(SIM)/differ.o $(SIM_TWINS:%=$(SIM)/twin_%.o) $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) -o $@ $(filter-out $(SQLITE),$^) $(LIBS)

# Its quick part is one of the unit tests (tools/unit).
unit-programs: $(SIM)/run $(SIM)/differ
