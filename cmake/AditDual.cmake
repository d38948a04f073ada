# adit/dual.h is written from the table of primitives by a small program, before anything that includes it is
# compiled. This gives the target adit_dual_header and the variable ADIT_GENERATED_INCLUDE, a folder for the
# include path:
#
#   include(cmake/AditDual.cmake)
#   add_dependencies(adit adit_dual_header)
#   target_include_directories(adit INTERFACE "$<BUILD_INTERFACE:${ADIT_GENERATED_INCLUDE}>")
#
# The header is installed from here, next to the written ones.

set(ADIT_GENERATED_INCLUDE "${CMAKE_CURRENT_BINARY_DIR}/include")
set(adit_dual_h "${ADIT_GENERATED_INCLUDE}/adit/dual.h")
set(adit_primitives "${CMAKE_CURRENT_SOURCE_DIR}/src/primitives")

add_executable(generate_dual
  "${adit_primitives}/generate_dual.c"
  "${adit_primitives}/expression.c"
  "${CMAKE_CURRENT_SOURCE_DIR}/src/base/memory.c"
  "${CMAKE_CURRENT_SOURCE_DIR}/src/base/status.c")
target_include_directories(generate_dual PRIVATE
  "${CMAKE_CURRENT_SOURCE_DIR}/include" "${CMAKE_CURRENT_SOURCE_DIR}/src")
target_link_libraries(generate_dual PRIVATE m)
set_target_properties(generate_dual PROPERTIES C_STANDARD 17 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
  RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/generators")

# Written beside its place first: a run that fails leaves no half header.
file(MAKE_DIRECTORY "${ADIT_GENERATED_INCLUDE}/adit")
add_custom_command(
  OUTPUT "${adit_dual_h}"
  COMMAND generate_dual "${adit_primitives}/dual.h.in" "${adit_primitives}/helpers.h" > "${adit_dual_h}.new"
  COMMAND "${CMAKE_COMMAND}" -E rename "${adit_dual_h}.new" "${adit_dual_h}"
  DEPENDS generate_dual "${adit_primitives}/dual.h.in" "${adit_primitives}/helpers.h"
  COMMENT "Writing include/adit/dual.h"
  VERBATIM)
add_custom_target(adit_dual_header ALL DEPENDS "${adit_dual_h}")

include(GNUInstallDirs)
install(FILES "${adit_dual_h}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/adit")
