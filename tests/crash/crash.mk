# What the crash tests read a database with, beside the program that made it; and `make crash`, which is one of them for long.
CRASH_LOG = $(OUT)/tests/crash-log

.PHONY: crash crash-proof
ROUNDS = 20
crash: all fault-programs $(BENCH_PROGRAMS) ## kill -9 under full load, restart, look for what is lost, doubled or reordered (ROUNDS=200: ten minutes); then a million messages
	ROUNDS=$(ROUNDS) CHATTERBOX=$(CURDIR)/$(OUT)/chatterbox node tests/crash/kill9-under-load.mjs

crash-proof: fault-programs ## the crash test finds a bug that is planted: what is acknowledged before it is committed
	tests/crash/proof

fault-programs: $(CRASH_LOG)
$(OUT)/tests/crash-log.o: tests/crash/log_print.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(CRASH_LOG): $(OUT)/tests/crash-log.o $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) -o $@ $(filter-out $(SQLITE),$^) $(SQLITE) -lm -lpthread
