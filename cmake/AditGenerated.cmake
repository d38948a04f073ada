# Parts of the sources that small programs write, each an array in C, before what includes them is compiled:
#
#   write/helpers_text.inc       the functions of helpers.h as text, which code that is written out begins with
#   primitives/tanh_series.inc   the numbers of primitives/tanh_series.c
#
# This gives the target adit_generated and the variable ADIT_GENERATED_SOURCE, a folder for the include path.
set(ADIT_GENERATED_SOURCE "${CMAKE_CURRENT_BINARY_DIR}/source")
set(adit_generated_files "")

# The program src/FOLDER/generate_NAME.c, with the rest as arguments, prints FOLDER/RESULT.
function(adit_generate folder name result)
  set(file "${ADIT_GENERATED_SOURCE}/${folder}/${result}")
  add_executable(generate_${name} "${CMAKE_CURRENT_SOURCE_DIR}/src/${folder}/generate_${name}.c")
  target_include_directories(generate_${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src")
  target_link_libraries(generate_${name} PRIVATE m)
  set_target_properties(generate_${name} PROPERTIES C_STANDARD 17 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/generators")
  file(MAKE_DIRECTORY "${ADIT_GENERATED_SOURCE}/${folder}")
  add_custom_command(
    OUTPUT "${file}"
    COMMAND generate_${name} ${ARGN} > "${file}.new"
    COMMAND "${CMAKE_COMMAND}" -E rename "${file}.new" "${file}"
    DEPENDS generate_${name} ${ARGN}
    COMMENT "Writing ${folder}/${result}"
    VERBATIM)
  set(adit_generated_files ${adit_generated_files} "${file}" PARENT_SCOPE)
endfunction()

adit_generate(write helpers helpers_text.inc "${adit_primitives}/helpers.h")
adit_generate(primitives tanh tanh_series.inc)
add_custom_target(adit_generated DEPENDS ${adit_generated_files})
