# Every third-party library as one imported target, found once and here.
find_package(Threads REQUIRED)
if(MELFLOW_ONLY_GPU)
  find_package(GTest QUIET)
  return()
endif()
find_package(PkgConfig REQUIRED)
pkg_check_modules(SNDFILE REQUIRED IMPORTED_TARGET sndfile)
pkg_check_modules(FFTW REQUIRED IMPORTED_TARGET fftw3)
pkg_check_modules(SOXR REQUIRED IMPORTED_TARGET soxr)
pkg_check_modules(PORTAUDIO REQUIRED IMPORTED_TARGET portaudio-2.0)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
if(MELFLOW_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()

# LibTorch: the user's own (Torch_DIR or CMAKE_PREFIX_PATH), else the wheel that tools/setup put into .deps.
# The wheel's own TorchConfig.cmake insists on a CUDA toolkit, which a CPU-only machine has not; so we name
# its libraries ourselves. Only the CPU library is linked: libtorch_cuda is loaded at run time where there is a GPU.
if(MELFLOW_WITH_TORCH)
  file(GLOB wheel_dirs ${CMAKE_CURRENT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch)
  set(torch_hints ${Torch_DIR}/../../.. $ENV{Torch_DIR}/../../..)
  foreach(prefix ${CMAKE_PREFIX_PATH} $ENV{CMAKE_PREFIX_PATH})
    list(APPEND torch_hints ${prefix} ${prefix}/../..)
  endforeach()
  find_path(TORCH_ROOT include/torch/csrc/api/include/torch/torch.h HINTS ${torch_hints} ${wheel_dirs} NO_DEFAULT_PATH)
  if(NOT TORCH_ROOT)
    message(FATAL_ERROR "LibTorch not found: run tools/setup, or set Torch_DIR to your own.")
  endif()
  message(STATUS "LibTorch: ${TORCH_ROOT}")
  find_library(TORCH_CPU_LIBRARY torch_cpu HINTS ${TORCH_ROOT}/lib REQUIRED NO_DEFAULT_PATH)
  find_library(C10_LIBRARY c10 HINTS ${TORCH_ROOT}/lib REQUIRED NO_DEFAULT_PATH)
  add_library(melflow_torch INTERFACE)
  target_include_directories(melflow_torch SYSTEM INTERFACE ${TORCH_ROOT}/include
                             ${TORCH_ROOT}/include/torch/csrc/api/include)
  # at::parallel_for is a template of LibTorch's headers: without OpenMP's switch it runs on one thread, and says nothing.
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(melflow_torch INTERFACE ${TORCH_CPU_LIBRARY} ${C10_LIBRARY} OpenMP::OpenMP_CXX)
  # The CUDA runtime and CUPTI that libtorch_cpu itself needs lie beside the wheel.
  target_link_options(melflow_torch INTERFACE -Wl,-rpath,${TORCH_ROOT}/lib -Wl,--allow-shlib-undefined)
endif()
