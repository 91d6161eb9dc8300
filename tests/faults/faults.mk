# What the tests of faults need: the server with every call that can fail under control (inject.cpp), a tool that makes and judges databases
# (store-tool.cpp). From the same objects as the program; other people's archives are copied with their calls of malloc renamed, so that theirs and
# ours can fail apart.
TESTS = $(OUT)/tests
FAULT_WRAPS = malloc calloc realloc sqlite3_initialize sqlite3_step pthread_create accept4 open open64 close read write pread64 pwrite64 writev send sendmsg \
    ftruncate64 fallocate64 fsync fdatasync unlink rename
FAULT_RENAMES = malloc calloc realloc
FAULT_LIBS = $(patsubst %,$(TESTS)/faults/lib%.a,uv_a sodium z utf8proc foreign)
FAULT_PROGRAMS = $(TESTS)/chatterbox-faults $(TESTS)/store-tool

.PHONY: fault-programs
fault-programs: $(FAULT_PROGRAMS)

FAULT_COPY = objcopy $(foreach name,$(FAULT_RENAMES),--redefine-sym $(name)=fault_lib_$(name)) --redefine-sym mmap=fault_hash_mmap
$(TESTS)/faults/libforeign.a: $(FOREIGN_ARCHIVE)
	@mkdir -p $(@D)
	@$(FAULT_COPY) $< $@
$(TESTS)/faults/lib%.a: $(DEPS_STAMP)
	@mkdir -p $(@D)
	@$(FAULT_COPY) $(LIB)/lib$*.a $@

$(TESTS)/%.o: tests/faults/%.cpp $(COMPILE_DEPENDS)
	@echo "  c++ $<"
	@mkdir -p $(@D)
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<

# The linker wraps no calls of a shared library.
FAULT_OURS = $(if $(filter %.so,$(ARCHIVE)),$(LIBRARY_OBJECTS),$(ARCHIVE))
$(TESTS)/chatterbox-faults: $(TESTS)/inject.o $(OBJ)/main.o $(FAULT_OURS) $(FAULT_LIBS) $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) $(FAULT_WRAPS:%=-Wl,--wrap=%) -o $@ $(TESTS)/inject.o $(OBJ)/main.o $(FAULT_OURS) $(FAULT_LIBS) $(SQLITE) \
	    $(LIB)/libqrcodegen.a -lm -lpthread

$(TESTS)/store-tool: $(TESTS)/store-tool.o $(ARCHIVE) $(FOREIGN_ARCHIVE) $(SQLITE)
	@echo "  link $@"
	@$(LINK_TEST) -o $@ $(filter-out $(SQLITE),$^) $(LIBS)

-include $(wildcard $(TESTS)/*.d)
