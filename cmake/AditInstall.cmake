# Libraries, headers, adit.pc for pkg-config, and the package for find_package(adit): adit::adit and adit::static.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/adit")
install(TARGETS adit adit_static EXPORT adit-targets)
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(EXPORT adit-targets NAMESPACE adit:: DESTINATION "${package_dir}")

configure_package_config_file(cmake/adit-config.cmake.in adit-config.cmake INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(adit-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/adit-config.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/adit-config-version.cmake" DESTINATION "${package_dir}")

# Paths in adit.pc start from where it lies, so the installed tree can be moved.
file(RELATIVE_PATH adit_pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" /prefix)
set(adit_pc_private "")
foreach(name ${adit_link_names})
  if(NOT IS_ABSOLUTE "${name}")
    set(name "-l${name}")
  endif()
  string(APPEND adit_pc_private " ${name}")
endforeach()
configure_file(cmake/adit.pc.in adit.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/adit.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
