# Repairs the exported CMake targets of the ROS 2 wheels; passed to every project of a colcon build
# as CMAKE_PROJECT_TOP_LEVEL_INCLUDES (tools/setup_environment.py writes the colcon defaults file
# that does so).  The wheels carry two paths of the container they were built in:
#   * include directories under /opt/python/ in <messages>__rosidl_generator_py,
#   * /usr/lib64/libtinyxml2.so in fastrtps,
# and CMake refuses paths that do not exist.  The repair runs when the project's own CMakeLists.txt
# has been read, so that all imported targets are known.

function(instascene_repair_wheel_targets)
  get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(includes MATCHES "/opt/python/")
      list(FILTER includes EXCLUDE REGEX "^/opt/python/")
      list(APPEND includes ${Python3_INCLUDE_DIRS} ${Python3_NumPy_INCLUDE_DIRS})
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${includes}")
    endif()
    get_target_property(libraries ${target} INTERFACE_LINK_LIBRARIES)
    if(libraries MATCHES "/usr/lib64/libtinyxml2")
      list(FILTER libraries EXCLUDE REGEX "/usr/lib64/libtinyxml2")
      set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}")
    endif()
  endforeach()

  # The environment lies inside the source tree (.venv); CMake refuses to export such include paths,
  # so they are kept for the build and left out of what is installed.
  get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(includes)
      list(TRANSFORM includes REPLACE "^(.*/\\.venv/.*)$" "$<BUILD_INTERFACE:\\1>")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${includes}")
    endif()
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL instascene_repair_wheel_targets)
