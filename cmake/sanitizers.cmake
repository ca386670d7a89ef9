# One switch for every target, so that no object of a sanitizer build is left uninstrumented;
# elsewhere the usual hardening for programs that read other people's files.
if(MELFLOW_SANITIZE)
  add_compile_options(-fsanitize=${MELFLOW_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MELFLOW_SANITIZE})
else()
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection)
  add_compile_options($<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
  add_compile_definitions($<$<CONFIG:Release>:_GLIBCXX_ASSERTIONS>)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
