# Toolchain file for wheels: zig's clang and C libraries for RT_TARGET, e.g. aarch64-linux-gnu.2.28 or
# x86_64-linux-musl. RT_ZIG is zig's program, from the package "ziglang". csrc/wheels/build.py passes both.
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR "${RT_TARGET}")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RT_TARGET RT_ZIG)

set(CMAKE_C_COMPILER ${RT_ZIG} cc)
set(CMAKE_C_COMPILER_TARGET ${RT_TARGET})
# -dynamic: against musl zig links programs statically otherwise. -s: the strip program of this machine may not
# know the other processor.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-dynamic -s")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-s")
set(CMAKE_MODULE_LINKER_FLAGS_INIT "-s")
set(CMAKE_STRIP true CACHE FILEPATH "nothing is left to strip" FORCE)
set(CMAKE_C_ARCHIVE_CREATE "${RT_ZIG} ar qc <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_APPEND "${RT_ZIG} ar q <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "${RT_ZIG} ranlib <TARGET>")

# The wheel's Python runs here and what is compiled does not: only headers and libraries are the target's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
