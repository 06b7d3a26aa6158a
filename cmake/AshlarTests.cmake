# Tests. Every *_test.cc below src/<folder>, tests/<folder>, testing or tools goes into one
# GoogleTest binary <folder>_test, which is one ctest entry.
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  message(FATAL_ERROR "GoogleTest is missing: apt-get install libgtest-dev")
endif()

set(concurrency_folders async graph backend request)  # also run under the thread sanitizer

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
  endif()
  add_test(NAME ${target} COMMAND ${target})
  set_tests_properties(${target} PROPERTIES TIMEOUT 300 LABELS "${labels}"
      ENVIRONMENT "ASHLAR_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
endforeach()
