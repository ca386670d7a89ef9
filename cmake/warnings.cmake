# Warnings are errors in our own targets; third-party headers are included as SYSTEM.
function(melflow_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror)
endfunction()
