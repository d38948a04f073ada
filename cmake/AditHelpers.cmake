# The functions of helpers.h as text, which code that is written out begins with: a C array, made by a small program. This gives the
# target adit_helpers_text, before which nothing that includes write/helpers_text.inc is compiled.
add_executable(generate_helpers "${CMAKE_CURRENT_SOURCE_DIR}/src/write/generate_helpers.c")
set_target_properties(generate_helpers PROPERTIES C_STANDARD 17 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
  RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/generators")
set(ADIT_GENERATED_SOURCE "${CMAKE_CURRENT_BINARY_DIR}/source")
file(MAKE_DIRECTORY "${ADIT_GENERATED_SOURCE}/write")
add_custom_command(
  OUTPUT "${ADIT_GENERATED_SOURCE}/write/helpers_text.inc"
  COMMAND generate_helpers "${adit_primitives}/helpers.h" > "${ADIT_GENERATED_SOURCE}/write/helpers_text.inc.new"
  COMMAND "${CMAKE_COMMAND}" -E rename "${ADIT_GENERATED_SOURCE}/write/helpers_text.inc.new"
          "${ADIT_GENERATED_SOURCE}/write/helpers_text.inc"
  DEPENDS generate_helpers "${adit_primitives}/helpers.h"
  COMMENT "Writing write/helpers_text.inc"
  VERBATIM)
add_custom_target(adit_helpers_text DEPENDS "${ADIT_GENERATED_SOURCE}/write/helpers_text.inc")
