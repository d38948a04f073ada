# How adit is compiled. Every target of the project goes through one of the two functions at the end.

set(adit_warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
set(adit_cxx_warnings -Wall -Wextra -pedantic)
if(ADIT_WERROR)
  list(APPEND adit_warnings -Werror)
  list(APPEND adit_cxx_warnings -Werror)
endif()

# Loops become vector code only when errno and traps may be forgotten; contraction is off so that every instruction
# set gives the same bits. Infinities and nan are kept. Sections let a program drop what it does not use of libadit.a.
set(adit_numerics -fno-math-errno -fno-trapping-math -ffp-contract=off -fopenmp-simd)
set(adit_sections -ffunction-sections -fdata-sections)

if(ADIT_SANITIZE)
  add_compile_options(-O1 -g -fsanitize=${ADIT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ADIT_SANITIZE})
endif()

# -O3 for the sources given; a sanitized build is about correctness and stays as it is.
function(adit_optimise)
  if(NOT ADIT_SANITIZE)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS $<$<NOT:$<CONFIG:Debug>>:-O3>)
  endif()
endfunction()

function(adit_program_flags target)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 17 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:C>:${adit_warnings}>" "$<$<COMPILE_LANGUAGE:CXX>:${adit_cxx_warnings}>")
endfunction()

function(adit_library_flags target)
  adit_program_flags(${target})
  set_target_properties(${target} PROPERTIES C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE ${adit_numerics} ${adit_sections})
endfunction()

# Tables of pointers are what a loader has most to do with here. Where both the linker and the C library know the short
# form, the list of their places takes a tenth of the room: 115 KB that every program would read.
include(CheckCSourceCompiles)
set(CMAKE_REQUIRED_LINK_OPTIONS -Wl,-z,pack-relative-relocs)
check_c_source_compiles("#include <stdlib.h>
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 36)
#  error no such loader
#endif
int main(void) { return 0; }" ADIT_PACKED_RELOCATIONS)
unset(CMAKE_REQUIRED_LINK_OPTIONS)
