# The writer beside SQLite itself, without a network: linked with the server's own objects, as built for build/chatterbox.
build/bench/store_bench.o: tools/bench/store_bench.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<
$(STORE_BENCH): build/bench/store_bench.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK) -o $@ $(LINK_START) $(filter-out $(SQLITE),$^) $(LIBS) $(LINK_END)
-include $(wildcard build/bench/store_bench.d)
