# adit as a tool of GradBench, build/adit-gradbench, and the program that checks a tool's answers: benchmarks/gradbench.
# Without jansson (libjansson-dev) there is neither.
pkg_check_modules(jansson QUIET IMPORTED_TARGET jansson)
if(NOT jansson_FOUND)
  message(NOTICE "No jansson (libjansson-dev): GradBench's tool is left out")
  add_custom_target(gradbench COMMAND "${CMAKE_COMMAND}" -E echo "No jansson: the tool is left out" VERBATIM)
  return()
endif()

function(adit_add_gradbench_program target output)
  add_executable(${target} EXCLUDE_FROM_ALL ${ARGN})
  adit_program_flags(${target})
  target_compile_options(${target} PRIVATE -O2)
  target_link_libraries(${target} PRIVATE PkgConfig::jansson m)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${output}
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
endfunction()

file(GLOB gradbench_sources CONFIGURE_DEPENDS benchmarks/gradbench/*.c)
adit_add_gradbench_program(adit_gradbench adit-gradbench ${gradbench_sources})
target_link_libraries(adit_gradbench PRIVATE adit)
# Its --threads is OpenMP's number of threads.
if(OpenMP_C_FOUND)
  target_compile_options(adit_gradbench PRIVATE ${OpenMP_C_FLAGS})
  target_link_libraries(adit_gradbench PRIVATE ${OpenMP_C_LIBRARIES})
endif()
add_custom_target(gradbench DEPENDS adit_gradbench)

if(NOT ADIT_TESTS)
  return()
endif()
file(GLOB check_sources CONFIGURE_DEPENDS benchmarks/gradbench/check/*.c)
adit_add_gradbench_program(gradbench_check gradbench-check ${check_sources})
add_dependencies(tests adit_gradbench gradbench_check)

# gradbench/NAME: gradbench-check with the options before TOOL, the tool with those after it.
function(adit_add_gradbench_test name)
  cmake_parse_arguments(PARSE_ARGV 1 with "" "" "CHECK;TOOL")
  add_test(NAME gradbench/${name}
    COMMAND gradbench_check ${with_CHECK} $<TARGET_FILE:adit_gradbench> ${with_TOOL})
  set_tests_properties(gradbench/${name} PROPERTIES LABELS gradbench TIMEOUT 900)
endfunction()

# Sanitized, the evaluations with descent take minutes, and a plain compiler's code does not load.
if(ADIT_SANITIZE)
  foreach(module llsq lse det ode kmeans gmm ba lstm ht)
    adit_add_gradbench_test(${module} CHECK --only ${module} TOOL --backend interpreter)
  endforeach()
else()
  adit_add_gradbench_test(interpreter CHECK --rounds 3 TOOL --backend interpreter)
  adit_add_gradbench_test(native TOOL --backend native)
endif()
adit_add_gradbench_test(hostile CHECK --fuzz 4000 TOOL --backend interpreter)
