# Warnings are errors in our own targets; third-party headers are included as SYSTEM. They are warnings alone for
# tools/gpu_check: a compiler that is met for some minutes, on a machine with a GPU, may know one that none had before.
set(MELFLOW_WERROR "-Werror")
set(MELFLOW_CUDA_WERROR "-Xcompiler=-Werror;-Werror=all-warnings")
if(MELFLOW_ONLY_GPU)
  set(MELFLOW_WERROR "")
  set(MELFLOW_CUDA_WERROR "")
endif()
function(melflow_warnings target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wnon-virtual-dtor;${MELFLOW_WERROR}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-fPIC;${MELFLOW_CUDA_WERROR}>")
endfunction()
