# The block kernels: the same source for several instruction sets, see src/run/kernels/kernels.inc.
include(CheckCCompilerFlag)

set(kernels "${CMAKE_CURRENT_SOURCE_DIR}/src/run/kernels")
set(kernel_files "${kernels}/kernels_baseline.c" "${kernels}/kernels_avx2.c" "${kernels}/kernels_avx512.c")

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set_property(SOURCE "${kernels}/kernels_avx2.c" APPEND PROPERTY COMPILE_OPTIONS -mavx2 -mfma)
  set_property(SOURCE "${kernels}/kernels_avx512.c" APPEND PROPERTY COMPILE_OPTIONS
    -mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma -mprefer-vector-width=512)
endif()

# gcc reaches libmvec through the simd attribute of its prototypes; clang through an option. Loops that call what has no
# vector form stay scalar, which is as it should be: no warning.
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  check_c_compiler_flag(-fveclib=libmvec adit_has_veclib)
  if(adit_has_veclib)
    set_property(SOURCE ${kernel_files} APPEND PROPERTY COMPILE_OPTIONS -fveclib=libmvec)
  endif()
  set_property(SOURCE ${kernel_files} APPEND PROPERTY COMPILE_OPTIONS -Wno-pass-failed)
endif()
