# Run at every build: OUT says of which commit SOURCE is, with a + behind it where files differ from that commit.
cmake_minimum_required(VERSION 3.24)
set(MELFLOW_COMMIT unknown)
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty=+ --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(NOT failed AND commit)
  set(MELFLOW_COMMIT ${commit})
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define MELFLOW_COMMIT \"@MELFLOW_COMMIT@\"\n" @ONLY)
