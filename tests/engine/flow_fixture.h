#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "engine/flow/flow_trainer.h"
#include "tests/engine/reference.h"

namespace melflow::engine {

class FlowEngine : public ::testing::Test {
 protected:
  void SetUp() override { torch::set_num_threads(1); }
  std::filesystem::path file(const std::string& name) const { return folder_ / name; }

  FlowTrainConfig config(const std::string& data, const std::vector<std::string>& sets) const {
    std::vector<std::string> all{"data.path=" + data};
    all.insert(all.end(), sets.begin(), sets.end());
    const auto loaded = load_flow_data(parse_flow_data(nlohmann::json::object(), all, "test"));
    return parse_flow_config(nlohmann::json::object(), all, loaded, "test");
  }
  FlowTrainer trainer(const FlowTrainConfig& c, const std::string& run, bool resume = false) const {
    return FlowTrainer(c, load_flow_data(c.data), file(run), resume);
  }
  static void train(FlowTrainer& t, int64_t until) {
    t.run([&] { return t.state().step >= until; }, [](const Progress&) {});
  }
  /// A small table: two columns that hang together, on other scales.
  std::string table() const {
    auto random = generator(5);
    const auto z = torch::randn({600, 2}, random, torch::TensorOptions());
    std::ofstream out(file("table.csv"));
    for (int64_t i = 0; i < 600; ++i) {
      const double a = z[i][0].item<double>(), b = z[i][1].item<double>();
      out << 100 + 20 * a << "," << 0.01 * (a * a + 0.3 * b) << "\n";
    }
    return file("table.csv").string();
  }

 private:
  testing::TempDir folder_;
};

}  // namespace melflow::engine
