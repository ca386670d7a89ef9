# One switch for every target, so that no object of a sanitizer build is left uninstrumented;
# elsewhere the usual hardening for programs that read other people's files.
if(MELFLOW_SANITIZE)
  add_compile_options(-fsanitize=${MELFLOW_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MELFLOW_SANITIZE})
else()
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fstack-protector-strong;-fstack-clash-protection;-fcf-protection>")
  add_compile_options("$<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  add_compile_definitions($<$<CONFIG:Release>:_GLIBCXX_ASSERTIONS>)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
