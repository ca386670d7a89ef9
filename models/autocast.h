#pragma once

#include <ATen/autocast_mode.h>

namespace melflow::models {

/// LibTorch's autocast as it is at this moment for a kind of device: off, or products in a narrower type.
struct AutocastState {
  bool on = false;
  at::ScalarType type = at::kBFloat16;

  static AutocastState of(at::DeviceType device) {
    return {at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
  }
};

/// Autocast as told for as long as this lives. Nothing that was cast is kept: a copy made where no gradient was wanted
/// would be taken where one is.
class Autocast {
 public:
  Autocast(at::DeviceType device, AutocastState state)
      : device_(device), before_(AutocastState::of(device)), kept_copies_(at::autocast::is_autocast_cache_enabled()) {
    set(state);
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~Autocast() {
    set(before_);
    at::autocast::set_autocast_cache_enabled(kept_copies_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  void set(AutocastState state) const {
    at::autocast::set_autocast_enabled(device_, state.on);
    at::autocast::set_autocast_dtype(device_, state.type);
  }

  at::DeviceType device_;
  AutocastState before_;
  bool kept_copies_;
};

}  // namespace melflow::models
