# The Python binding and the other contents of a wheel. Read only when pip builds (scikit-build-core sets SKBUILD).
#
#     shmring/_ring.*.so        cffi, API mode: everything that is not per packet
#     shmring/_proto.*.so       cffi, API mode: protocol cores alone, for tests in virtual time
#     shmring/_hot.*.so         hand-written: the per-packet calls
#     rtpsynth/_core.*.so       hand-written: what that drop-in compiles, over base and proto; server*.c over client, too
#     rtworkers/bin/...         the worker, and the bare-C floor of `shmring bench`
#     shmring/lib, include      libshmring and its header, for C programs (csrc/client/CMakeLists.txt)
cmake_minimum_required(VERSION 3.26) # USE_SABI

# For a Python that does not run here, and that has no lock: its headers, and the tag of its modules (csrc/wheels/build.py).
set(RT_PYTHON_HEADERS "" CACHE PATH "Headers of a free-threaded Python, instead of the ones of this Python")
set(RT_PYTHON_TAG "" CACHE STRING "cpython-314t-x86_64-linux-gnu")
if(RT_PYTHON_HEADERS)
    find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
else()
    find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module ${SKBUILD_SABI_COMPONENT})
endif()

# rt_python_module(PACKAGE NAME SOURCE...): PACKAGE.NAME. One file for all Pythons from 3.11 on if this Python has
# the stable ABI (CPython with its lock), otherwise a file for this Python only.
function(rt_python_module package name)
    if(RT_PYTHON_HEADERS)
        add_library(${name} MODULE ${ARGN})
        set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".${RT_PYTHON_TAG}.so")
        target_include_directories(${name} PRIVATE ${RT_PYTHON_HEADERS})
        target_compile_definitions(${name} PRIVATE Py_GIL_DISABLED=1 _CFFI_NO_LIMITED_API)
    elseif(SKBUILD_SABI_VERSION)
        python_add_library(${name} MODULE USE_SABI ${SKBUILD_SABI_VERSION} WITH_SOABI ${ARGN})
    else()
        python_add_library(${name} MODULE WITH_SOABI ${ARGN})
    endif()
    install(TARGETS ${name} LIBRARY DESTINATION ${package})
endfunction()

# rt_cffi_module(NAME LIBRARY...): shmring._NAME from the list python/NAME_cdef.txt and from python/NAME_src.h.
function(rt_cffi_module name)
    set(list ${CMAKE_CURRENT_SOURCE_DIR}/python/${name}_cdef.txt)
    set(maker ${CMAKE_CURRENT_SOURCE_DIR}/python/cdef.py)
    set(cdef ${CMAKE_CURRENT_BINARY_DIR}/${name}_cdef.h)
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h ${RT_MADE}/*.h)
    set(src ${CMAKE_CURRENT_SOURCE_DIR}/python/${name}_src.h)
    set(c ${CMAKE_CURRENT_BINARY_DIR}/_${name}.c)
    add_custom_command(
        OUTPUT ${c}
        COMMAND ${Python_EXECUTABLE} ${maker} ${list} ${cdef} ${CMAKE_CURRENT_SOURCE_DIR} ${RT_MADE}
        COMMAND ${Python_EXECUTABLE} -m cffi.gen_src read-sources shmring._${name} ${cdef} ${src} ${c}
        DEPENDS ${maker} ${list} ${headers} ${src}
        COMMENT "Generating shmring._${name}"
        VERBATIM)
    rt_python_module(shmring _${name} ${c})
    target_link_libraries(_${name} PRIVATE ${ARGN})
    # cffi compares the types of fields, and takes atomic ones for plain ones. gcc 14 calls that an error.
    target_compile_options(_${name} PRIVATE -Wno-incompatible-pointer-types)
endfunction()

rt_cffi_module(ring rt_client rt_proto)
target_sources(_ring PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/python/stamp_probes.c)
rt_cffi_module(proto rt_proto)

file(GLOB hot_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/python/hot*.c)
rt_python_module(shmring _hot ${hot_sources} ${CMAKE_CURRENT_SOURCE_DIR}/python/int_view.c
                 ${CMAKE_CURRENT_SOURCE_DIR}/python/signature.c)
target_link_libraries(_hot PRIVATE rt_client rt_proto rt_strict)

file(GLOB rtpsynth_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/python/rtpsynth/*.c)
rt_python_module(rtpsynth _core ${rtpsynth_sources} ${CMAKE_CURRENT_SOURCE_DIR}/python/int_view.c
                 ${CMAKE_CURRENT_SOURCE_DIR}/python/signature.c)
target_link_libraries(_core PRIVATE rt_client rt_proto rt_strict)

# The drop-in netflux also has modules outside its package: the same files under the names of the originals.
foreach(name IN ITEMS main receiver sender statistics)
    install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/../api/netflux/netflux_${name}.py DESTINATION .)
endforeach()

# The pages that `shmring help` shows and messages name.
install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/../docs/ DESTINATION shmring_cli/pages
        FILES_MATCHING PATTERN "*.md" PATTERN examples EXCLUDE PATTERN pictures EXCLUDE PATTERN site EXCLUDE
        PATTERN api EXCLUDE)

install(TARGETS shmring-worker RUNTIME DESTINATION rtworkers/bin)
if(TARGET shmring-floor)
    install(TARGETS shmring-floor RUNTIME DESTINATION rtworkers/bin)
endif()

# How these were built, for `shmring doctor`. It also opens the folder to importlib.resources in an editable
# install, where scikit-build-core maps only folders with a file whose stem is a Python identifier.
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/build.json CONTENT [[{
  "version": "@SKBUILD_PROJECT_VERSION_FULL@",
  "compiler": "@CMAKE_C_COMPILER_ID@ @CMAKE_C_COMPILER_VERSION@",
  "build_type": "@CMAKE_BUILD_TYPE@",
  "sanitizers": "@RT_SANITIZE@"
}
]] @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/build.json DESTINATION rtworkers/bin)

# What the wheel contains and needs (PEP 770). All code in it is this project's own.
configure_file(${CMAKE_CURRENT_LIST_DIR}/sbom.cdx.json.in ${CMAKE_CURRENT_BINARY_DIR}/shmring.cdx.json @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/shmring.cdx.json DESTINATION ${SKBUILD_METADATA_DIR}/sboms)

file(GLOB manual CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/../docs/man/*.1)
install(FILES ${manual} DESTINATION ${SKBUILD_DATA_DIR}/share/man/man1)
