# Tests. Every *_test.cc below src/<folder>, tests/<folder>, testing or tools goes into one
# GoogleTest binary <folder>_test, which is one ctest entry.
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  message(FATAL_ERROR "GoogleTest is missing: apt-get install libgtest-dev")
endif()

# Also run under the thread sanitizer.
set(concurrency_folders concurrency async graph backend request drivers formats filters monitor)

file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
     ${PROJECT_SOURCE_DIR}/src/*_test.cc ${PROJECT_SOURCE_DIR}/testing/*_test.cc
     ${PROJECT_SOURCE_DIR}/tools/*_test.cc ${PROJECT_SOURCE_DIR}/tests/*_test.cc)
set(test_folders "")
foreach(source IN LISTS test_sources)
  if(source MATCHES "^(src|tests)/([^/]+)/")
    set(folder ${CMAKE_MATCH_2})
  else()
    string(REGEX REPLACE "/.*" "" folder ${source})
  endif()
  list(APPEND test_folders ${folder})
  list(APPEND ${folder}_test_sources ${PROJECT_SOURCE_DIR}/${source})
endforeach()
list(REMOVE_DUPLICATES test_folders)

set(results ${PROJECT_BINARY_DIR}/results/)  # one XML file of cases per binary
add_custom_target(concurrency_tests)
foreach(folder IN LISTS test_folders)
  set(target ${folder}_test)
  add_executable(${target} ${${target}_sources})
  target_link_libraries(${target} PRIVATE ashlar_testing GTest::gtest_main)
  if(folder STREQUAL "tools")
    target_link_libraries(${target} PRIVATE ashlar_tools)
  endif()
  set(labels unit)
  if(folder IN_LIST concurrency_folders)
    list(APPEND labels tsan)
    add_dependencies(concurrency_tests ${target})
  endif()
  add_test(NAME ${target} COMMAND ${target})
  set_tests_properties(${target} PROPERTIES TIMEOUT 300 LABELS "${labels}"
      ENVIRONMENT "ASHLAR_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};GTEST_OUTPUT=xml:${results}")
endforeach()

# Runs beside the peer's tools: tests/interop/<name>_test.py. They skip what is not installed.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB interop_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/interop/*_test.py)
foreach(source IN LISTS interop_sources)
  cmake_path(GET source STEM name)
  add_test(NAME interop_${name} COMMAND ${Python3_EXECUTABLE} ${source})
  set_tests_properties(interop_${name} PROPERTIES TIMEOUT 300 LABELS interop
      ENVIRONMENT ASHLAR_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
endforeach()

# Checks of the tree itself, and of what is installed.
function(ashlar_add_check name)
  add_test(NAME check_${name}
      COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/checks/check_${name}.py ${ARGN})
  set_tests_properties(check_${name} PROPERTIES TIMEOUT 300 LABELS check)
endfunction()
ashlar_add_check(sources)
ashlar_add_check(coroutines)
ashlar_add_check(budgets)
ashlar_add_check(includes)
ashlar_add_check(text)
ashlar_add_check(docs)
ashlar_add_check(headers ${PROJECT_BINARY_DIR}/header_stamps ${CMAKE_CXX_COMPILER} clang++-19)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  ashlar_add_check(install ${PROJECT_BINARY_DIR} ${CMAKE_CXX_COMPILER} ${PROJECT_VERSION})
endif()
