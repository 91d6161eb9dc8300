# The release build: what differs from the development build, for one ARCH. Included by the Makefile at KIND=release,
# which tools/release starts after tools/deps has put the libraries' sources in build/deps/src.
#
# The C library is musl, taken from Debian's package or, where Debian has none, built from its source. The other
# libraries are compiled here, small and once: they stay in build/release/lib-ARCH. Debian has no C++ library for
# musl, so GCC's headers are used with musl's C headers, and only those parts that need nothing at link time.

CROSS = $(TRIPLET)-
CC = $(CROSS)gcc
CXX = $(CROSS)g++
AR = $(CROSS)ar
STRIP = $(CROSS)strip
GCC_VERSION := $(shell $(TRIPLET_$(ARCH))-gcc -dumpversion)

# ---------------------------------------------------------------- where musl and the headers are

MUSL_TRIPLET = $(TRIPLET:%-gnu=%-musl)
ifeq ($(ARCH),armhf)
MUSL_TRIPLET = arm-linux-musleabihf
endif
ifeq ($(ARCH),riscv64)
MUSL_INCLUDE = $(LIBS_DIR)/musl/include
MUSL_LIB = $(LIBS_DIR)/musl/lib
MUSL_STAMP = $(LIBS_DIR)/musl/stamp
else
MUSL_INCLUDE = build/deps/musl-$(ARCH)/usr/include/$(MUSL_TRIPLET)
MUSL_LIB = build/deps/musl-$(ARCH)/usr/lib/$(MUSL_TRIPLET)
MUSL_STAMP = build/deps/musl-$(ARCH)/stamp
endif
S = $(DEPS)/src
KERNEL = $(LIBS_DIR)/kernel

# A cross compiler keeps its headers under /usr/TRIPLET, the machine's own in /usr/include.
CROSS_INCLUDE := $(wildcard /usr/$(TRIPLET_$(ARCH))/include)
ifneq ($(CROSS_INCLUDE),)
CXX_INCLUDE = $(CROSS_INCLUDE)/c++/$(GCC_VERSION)
CXX_TARGET_INCLUDE = $(CXX_INCLUDE)/$(TRIPLET)
KERNEL_FOLDERS = $(CROSS_INCLUDE)/linux $(CROSS_INCLUDE)/asm $(CROSS_INCLUDE)/asm-generic
else
CXX_INCLUDE = /usr/include/c++/$(GCC_VERSION)
CXX_TARGET_INCLUDE = /usr/include/$(TRIPLET)/c++/$(GCC_VERSION)
KERNEL_FOLDERS = /usr/include/linux /usr/include/$(TRIPLET)/asm /usr/include/asm-generic
endif
C_INCLUDES = -nostdinc -isystem $(MUSL_INCLUDE) -isystem $(shell $(CC) -print-file-name=include) -idirafter $(KERNEL)
CXX_INCLUDES = -nostdinc++ -isystem $(CXX_INCLUDE) -isystem $(CXX_TARGET_INCLUDE) \
    -D'__GLIBC_PREREQ(a,b)=0' -D__locale_t=locale_t
INCLUDES = -isystem $(DEPS)/usr/include -isystem $(S)/wslay -isystem $(S)/llhttp -isystem $(S)/libuv1/include \
    -isystem $(S)/sqlite3 -isystem $(LIBS_DIR)/sodium/include -isystem $(S)/zlib -isystem $(LIBS_DIR)/utf8proc \
    $(CXX_INCLUDES) $(C_INCLUDES)
FOREIGN_INCLUDES = -I$(S)/wslay -I$(S)/llhttp $(C_INCLUDES)

# ---------------------------------------------------------------- flags

# Nothing unwinds (no exceptions, no backtraces in the process): the tables for it are a tenth of the program.
# A debugger takes its own from the .debug file.
OPTIMIZE = -Os -fno-unwind-tables -fno-asynchronous-unwind-tables -include tools/hidden.h $(SMALL)
# MIPS code is large; the routers' cores (24K, 34K, 74K, 1004K) have its 16-bit form, which takes a third less. GCC 12
# miscompiles that with -fipa-ra (seen: SQLite's interpreter jumps into nothing), so without.
SMALL_mipsel = -mips16 -fno-ipa-ra
SMALL = $(SMALL_$(ARCH))

# gcc 12 ignores -static-pie for arm, mips and riscv (it makes a dynamic program): told to the linker instead.
LINK = $(CC) -static -Wl,-pie,--no-dynamic-linker,-z,text -nostdlib -nostartfiles $(GCSECTIONS) -Wl,-O1 $(PAGE)
# Kernels for these use pages of 4 or 16 KB; alignment to 64 KB would only pad the file. (arm64 keeps its 64 KB, which
# cost 49 KB: there are kernels with such pages.)
PAGE_mipsel = -Wl,-z,max-page-size=16384
PAGE = $(PAGE_$(ARCH))
CRT = $(shell $(CC) -print-file-name=$(1))
LINK_START = $(MUSL_LIB)/rcrt1.o $(MUSL_LIB)/crti.o $(call CRT,crtbeginS.o)
LINK_END = -L$(MUSL_LIB) -Wl,--start-group -lc -lgcc -lgcc_eh $(ATOMIC) -Wl,--end-group \
    $(call CRT,crtendS.o) $(MUSL_LIB)/crtn.o
# 32-bit MIPS has no 64-bit atomic instructions; libatomic has them with a lock.
ATOMIC_mipsel = $(call CRT,libatomic.a)
ATOMIC = $(ATOMIC_$(ARCH))
LIBS = $(LIBS_DIR)/libuv.a $(LIBS_DIR)/libsqlite3.a $(LIBS_DIR)/libsodium.a $(LIBS_DIR)/libz.a $(LIBS_DIR)/libutf8proc.a \
    $(LIBS_DIR)/libqrcodegen.a

# ---------------------------------------------------------------- the libraries

# Their C: no warnings of theirs, the same hardening as ours.
LIB_CFLAGS = -w $(OPTIMIZE) $(COMMON) $(C_INCLUDES)

UV_NAMES = fs-poll idna inet random strscpy strtok threadpool timer uv-common uv-data-getter-setters version \
    $(addprefix unix/,async core dl fs getaddrinfo getnameinfo loop-watcher loop pipe poll process random-devurandom \
    signal stream tcp thread tty udp proctitle linux-core linux-inotify linux-syscalls procfs-exepath \
    random-getrandom random-sysctl-linux epoll)
UV_SOURCES = $(UV_NAMES:%=$(S)/libuv1/src/%.c)
UV_FLAGS = -I$(S)/libuv1/include -I$(S)/libuv1/src

SQLITE_SOURCES = $(S)/sqlite3/sqlite3.c

# The password hash is meant to cost the attacker, not us: -O2, and on amd64 with the vector code chosen at run time.
SODIUM_SOURCES := $(sort $(shell find build/deps/src/src/libsodium/src/libsodium -name '*.c' 2>/dev/null))
SODIUM_FLAGS = -O2 -I$(LIBS_DIR)/sodium/include/sodium -DCONFIGURED=1 -DSODIUM_STATIC -DNATIVE_LITTLE_ENDIAN=1 \
    -DHAVE_INLINE_ASM -DHAVE_C_VARARRAYS -DHAVE_WEAK_SYMBOLS -DHAVE_ATOMIC_OPS -DHAVE_PTHREAD -DHAVE_ALLOCA_H \
    -DHAVE_ALLOCA -DHAVE_SYS_MMAN_H -DHAVE_MMAP -DHAVE_MLOCK -DHAVE_MADVISE -DHAVE_MPROTECT -DHAVE_POSIX_MEMALIGN \
    -DHAVE_GETPID -DHAVE_NANOSLEEP -DHAVE_SYS_RANDOM_H -DHAVE_GETRANDOM -DHAVE_LINUX_COMPATIBLE_GETRANDOM \
    -DHAVE_EXPLICIT_BZERO $(SODIUM_FLAGS_$(ARCH))
SODIUM_FLAGS_amd64 = -DHAVE_TI_MODE -DHAVE_CPUID -DHAVE_MMINTRIN_H -DHAVE_EMMINTRIN_H -DHAVE_PMMINTRIN_H \
    -DHAVE_TMMINTRIN_H -DHAVE_SMMINTRIN_H -DHAVE_AVXINTRIN_H -DHAVE_AVX2INTRIN_H
# sodium_init chooses the best code for ciphers that we do not use, which would link them: it asks for the processor's
# features once more instead. (A cipher that is used some day works all the same, by its plain code.)
SODIUM_UNUSED = onetimeauth_poly1305 scalarmult_curve25519 stream_chacha20 stream_salsa20
$(LIBS_DIR)/obj/libsodium/src/libsodium/sodium/core.o: SODIUM_FLAGS += \
    $(SODIUM_UNUSED:%=-D_crypto_%_pick_best_implementation=_sodium_runtime_get_cpu_features)
# What runs often and long stays in the 32-bit form.
SODIUM_FLAGS_mipsel = -mno-mips16
ZLIB_FLAGS_mipsel = -mno-mips16
SODIUM_FLAGS_arm64 = -DHAVE_TI_MODE
SODIUM_FLAGS_riscv64 = -DHAVE_TI_MODE

ZLIB_SOURCES = $(addprefix $(S)/zlib/,adler32.c compress.c crc32.c deflate.c inffast.c inflate.c inftrees.c trees.c uncompr.c zutil.c)
ZLIB_FLAGS = -O2 -DHAVE_UNISTD_H -DHAVE_STDARG_H $(ZLIB_FLAGS_$(ARCH))

UTF8PROC_SOURCES = $(S)/utf8proc/utf8proc.c
UTF8PROC_FLAGS = -DUTF8PROC_STATIC -include $(LIBS_DIR)/utf8proc/utf8proc.h

QRCODEGEN_SOURCES = $(S)/qr-code-generator/c/qrcodegen.c
QRCODEGEN_FLAGS =

# NAME, SOURCES, FLAGS, ARCHIVE: objects beside the archive, in a folder with the library's name.
define library
$(LIBS_DIR)/$(4): $$($(2):$(S)/%.c=$(LIBS_DIR)/obj/%.o)
	@rm -f $$@
	@$$(AR) rcsD $$@ $$^
$$($(2):$(S)/%.c=$(LIBS_DIR)/obj/%.o): $(LIBS_DIR)/obj/%.o: $(S)/%.c $(LIBS_DIR)/ready tools/release.mk Makefile
	@mkdir -p $$(@D)
	@$$(CC) $$(LIB_CFLAGS) $$($(3)) -c -o $$@ $$<
endef
$(eval $(call library,libuv,UV_SOURCES,UV_FLAGS,libuv.a))
$(eval $(call library,sqlite,SQLITE_SOURCES,SQLITE_FLAGS,libsqlite3.a))
$(eval $(call library,sodium,SODIUM_SOURCES,SODIUM_FLAGS,libsodium.a))
$(eval $(call library,zlib,ZLIB_SOURCES,ZLIB_FLAGS,libz.a))
$(eval $(call library,utf8proc,UTF8PROC_SOURCES,UTF8PROC_FLAGS,libutf8proc.a))
$(eval $(call library,qrcodegen,QRCODEGEN_SOURCES,QRCODEGEN_FLAGS,libqrcodegen.a))

# musl, the kernel's headers in a folder of their own, and sodium's headers with the version that its configure
# would have written.
$(LIBS_DIR)/ready: build/deps/src/stamp $(MUSL_STAMP) tools/sodium-headers tools/utf8proc-header
	@mkdir -p $(KERNEL)
	@for folder in $(KERNEL_FOLDERS); do ln -sfn "$$folder" $(KERNEL)/; done
	@tools/sodium-headers $(S)/libsodium $(LIBS_DIR)/sodium/include
	@tools/utf8proc-header $(S)/utf8proc/utf8proc.h $(LIBS_DIR)/utf8proc/utf8proc.h
	@touch $@

$(LIBS_DIR)/musl/stamp: build/deps/src/stamp
	@echo "  musl for $(ARCH), from its source"
	@rm -rf $(LIBS_DIR)/musl $(LIBS_DIR)/musl-build
	@mkdir -p $(LIBS_DIR)/musl-build
	@cd $(LIBS_DIR)/musl-build && { CROSS_COMPILE=$(CROSS) CFLAGS='-Os -fPIE -ffile-prefix-map=$(CURDIR)=.' \
	    $(CURDIR)/$(S)/musl/configure --target=$(ARCH) --disable-shared --prefix=$(CURDIR)/$(LIBS_DIR)/musl && \
	    $(MAKE) install-libs install-headers; } >../musl.log 2>&1
	@rm -rf $(LIBS_DIR)/musl-build
	@touch $@

$(LIBS_DIR)/stamp: $(LIBS)
	@cp $(DEPS)/versions $(LIBS_DIR)/versions
	@touch $@

.PHONY: libraries
libraries: $(LIBS_DIR)/stamp
