# LAPACK and BLAS, whichever the system has put under these names: OpenBLAS is the fast one, and where programs
# call adit from several threads its OpenMP build; that with threads of its own lets them wait for each other.
#
# Few programs solve linear systems, and OpenBLAS with its Fortran libraries takes longer to bind, and more memory, than
# the rest of adit: so src/base/lapack.c loads what has been found here when it is first needed, by the names that a
# linker would have written down. What has no such name, an archive say, is linked.
option(ADIT_LAPACK_LINKED "Link LAPACK, instead of loading it when it is first needed" OFF)
find_package(PkgConfig REQUIRED)
pkg_check_modules(lapack REQUIRED lapack blas)

set(names "")
foreach(library ${lapack_LIBRARIES})
  find_library(file NAMES ${library} HINTS ${lapack_LIBRARY_DIRS} NO_CACHE)
  set(headers "")
  if(file)
    execute_process(COMMAND "${CMAKE_OBJDUMP}" -p "${file}" OUTPUT_VARIABLE headers ERROR_QUIET)
  endif()
  if(headers MATCHES "SONAME +([^ \n]+)")
    list(APPEND names "\"${CMAKE_MATCH_1}\"")
  else()
    set(ADIT_LAPACK_LINKED ON)
  endif()
  unset(file)
endforeach()

if(ADIT_LAPACK_LINKED)
  list(PREPEND adit_link_names ${lapack_LIBRARIES})
else()
  list(JOIN names ", " names)
  set_property(SOURCE src/base/lapack.c APPEND PROPERTY COMPILE_DEFINITIONS "ADIT_LAPACK=${names}")
  list(APPEND adit_link_names ${CMAKE_DL_LIBS})
endif()
