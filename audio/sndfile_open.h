#pragma once

#include <functional>
#include <mutex>
#include <string>

#include <sndfile.h>

namespace melflow::audio {

/// What open() answers, an sf_open…(); where that is nothing, `why` is libsndfile's word for it, which is kept for the
/// whole process: so files are opened one after another.
inline SNDFILE* open_sndfile(const std::function<SNDFILE*()>& open, std::string& why) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  SNDFILE* const file = open();
  if (file == nullptr) why = sf_strerror(nullptr);
  return file;
}

}  // namespace melflow::audio
