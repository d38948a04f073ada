# benchmarks/X.c is a program each; the target 'bench' builds and runs them one after the other. X_adolc.cpp, the same
# workload in ADOL-C, is built where ADOL-C is installed. All see the processor as it is: the plain C that adit is
# measured against is compiled as well as can be.
set(bench_dir "${CMAKE_CURRENT_BINARY_DIR}/benchmarks")
set(bench_options -O3 -march=native ${adit_numerics})
set(bench_runs "")

function(adit_add_benchmark source)
  get_filename_component(name "${source}" NAME_WE)
  add_executable(bench_${name} EXCLUDE_FROM_ALL "${source}")
  adit_program_flags(bench_${name})
  target_compile_options(bench_${name} PRIVATE ${bench_options} ${OpenMP_C_FLAGS})
  target_link_libraries(bench_${name} PRIVATE adit_internal ${CMAKE_DL_LIBS} ${ARGN})
  set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${bench_dir}")
  set(bench_runs ${bench_runs} COMMAND "${CMAKE_COMMAND}" -E echo "== ${name}" COMMAND bench_${name} PARENT_SCOPE)
endfunction()

file(GLOB bench_sources CONFIGURE_DEPENDS benchmarks/*.c)
foreach(source ${bench_sources})
  adit_add_benchmark("${source}")
endforeach()

# Where learn finds PyTorch's side.
target_compile_definitions(bench_learn PRIVATE LEARN_PYTORCH="${CMAKE_CURRENT_SOURCE_DIR}/benchmarks/learn_pytorch.py")

file(GLOB adolc_sources CONFIGURE_DEPENDS benchmarks/*_adolc.cpp)
find_path(ADOLC_INCLUDE adolc/adolc.h)
find_library(ADOLC_LIBRARY adolc)
if(adolc_sources AND ADOLC_INCLUDE AND ADOLC_LIBRARY)
  enable_language(CXX)
  foreach(source ${adolc_sources})
    adit_add_benchmark("${source}" "${ADOLC_LIBRARY}")
  endforeach()
elseif(adolc_sources)
  message(NOTICE "No ADOL-C (libadolc-dev): benchmarks without it")
endif()

add_custom_target(bench ${bench_runs} USES_TERMINAL WORKING_DIRECTORY "${bench_dir}" VERBATIM)
