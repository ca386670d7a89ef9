# Several files to a compiler: one that sees LibTorch spends eight seconds on what its header leaves to instantiate,
# however short the file. Names in anonymous namespaces are then one room's, not one file's.
option(MELFLOW_BATCHES "Compile several files at once where that saves most" ON)
function(melflow_batches target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${MELFLOW_BATCHES} UNITY_BUILD_BATCH_SIZE 6)
endfunction()
