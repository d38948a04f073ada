# What a user or packager would trip over: the project installed and used from there, and built again under other
# compilers and sanitizers. Folders below ${packaging} are kept, so that a second run builds only what changed.
set(packaging "${PROJECT_BINARY_DIR}/packaging")
set(prefix "${packaging}/prefix")
set(here "${CMAKE_CURRENT_SOURCE_DIR}/packaging")

# Tests of the installed tree wait for packaging/install.
function(adit_add_installed_test name)
  adit_add_test("${name}" packaging ${ARGN})
  set_tests_properties("${name}" PROPERTIES FIXTURES_REQUIRED installed)
endfunction()

adit_add_test(packaging/install packaging sh "${here}/install.sh" "${PROJECT_BINARY_DIR}" "${prefix}")
set_tests_properties(packaging/install PROPERTIES FIXTURES_SETUP installed)

adit_add_installed_test(packaging/symbols sh "${here}/symbols.sh" "${prefix}/${CMAKE_INSTALL_LIBDIR}"
  "${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
adit_add_installed_test(packaging/headers sh "${here}/headers.sh" "${prefix}/include")
foreach(way pkgconfig cmake)
  foreach(kind shared static)
    adit_add_installed_test(packaging/${way}_${kind} sh "${here}/consume.sh" ${way} ${kind}
      "${prefix}" "${prefix}/${CMAKE_INSTALL_LIBDIR}" "${packaging}/${way}_${kind}" "${CMAKE_C_COMPILER}")
  endforeach()
endforeach()

# Every snippet of the manual, compiled against the installed tree.
file(GLOB documents CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/docs/*.md")
foreach(document "${PROJECT_SOURCE_DIR}/README.md" ${documents})
  file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}" "${document}")
  adit_add_installed_test(snippets/${name} "${Python3_EXECUTABLE}" -B "${CMAKE_CURRENT_SOURCE_DIR}/snippets.py"
    --cc "${CMAKE_C_COMPILER}" --prefix "${prefix}" --lib "${prefix}/${CMAKE_INSTALL_LIBDIR}"
    --folder "${packaging}/snippets/${name}" "${document}")
  set_property(TEST snippets/${name} APPEND PROPERTY LABELS snippets)
endforeach()

# The kernels of each instruction set are the vector code they are meant to be.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(objects "$<TARGET_OBJECTS:adit_objects>")
  adit_add_test(packaging/vectors_baseline packaging sh "${here}/vectors.sh" xmm b
    "$<FILTER:${objects},INCLUDE,kernels_baseline>")
  adit_add_test(packaging/vectors_avx2 packaging sh "${here}/vectors.sh" ymm d "$<FILTER:${objects},INCLUDE,kernels_avx2>")
  adit_add_test(packaging/vectors_avx512 packaging sh "${here}/vectors.sh" zmm e "$<FILTER:${objects},INCLUDE,kernels_avx512>")
endif()

# The project once more: adit_add_variant(name compiler c++-compiler target ctest-arguments cmake-options...). It takes the
# whole machine, and as long as it needs.
function(adit_add_variant name cc cxx target selection)
  adit_add_test(variants/${name} variants sh "${here}/variant.sh" "${PROJECT_SOURCE_DIR}"
    "${PROJECT_BINARY_DIR}/variants/${name}" "${target}" "${selection}"
    -DCMAKE_C_COMPILER=${cc} -DCMAKE_CXX_COMPILER=${cxx} -DADIT_TESTS=ON -DADIT_SUBBUILDS=OFF ${ARGN})
  set_tests_properties(variants/${name} PROPERTIES PROCESSORS ${cores} TIMEOUT 3600)
endfunction()

# Optimised as a release is, too: warnings that need -O3, asserts left out.
adit_add_variant(clang clang clang++ "all tests" "-LE slow" -DADIT_WERROR=ON -DCMAKE_BUILD_TYPE=Release)
# Under sanitizers gcc warns of variables that are never uninitialised; the other builds are the judges of warnings.
adit_add_variant(asan gcc g++ "all tests" "-LE slow" -DADIT_WERROR=OFF
  -DADIT_SANITIZE=address,undefined,float-cast-overflow)
# libgomp is not instrumented: its barriers would look like races.
adit_add_variant(tsan gcc g++ "tests_threads" "-L threads" -DADIT_WERROR=OFF -DADIT_SANITIZE=thread -DADIT_OPENMP=OFF)
