# Our safetensors against the reference implementation, where MELFLOW_PYTHON names a Python that has it.
add_executable(safetensors_dump files/safetensors_dump.cpp)
target_link_libraries(safetensors_dump PRIVATE melflow_files nlohmann_json::nlohmann_json)
melflow_warnings(safetensors_dump)
set(differential ${CMAKE_CURRENT_SOURCE_DIR}/files/safetensors_differential.py)
add_test(NAME SafetensorsDifferential.AgreesWithTheReference COMMAND sh -c
  "test -n \"$MELFLOW_PYTHON\" || { echo 'skipped: MELFLOW_PYTHON names no Python with safetensors'; exit 77; }; \
exec \"$MELFLOW_PYTHON\" '${differential}' '$<TARGET_FILE:safetensors_dump>'")
set_tests_properties(SafetensorsDifferential.AgreesWithTheReference PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
