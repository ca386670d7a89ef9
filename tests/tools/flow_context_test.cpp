// `melflow flow` of densities that depend on numbers.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/files/npy.h"
#include "tests/tools/flow_cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::FlowCli;
using melflow::testing::text_of;
using nlohmann::json;

/// y = x/50 + noise of a deviation that grows with x: what a regression with error bars would say, and its likelihood.
TEST_F(FlowCli, DensityOfEachContext) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(300, 700);
  std::normal_distribution<double> normal;
  double entropy = 0;
  std::ofstream table(path("pairs.csv")), xs(path("x.csv")), ys(path("y.csv"));
  for (int i = 0; i < 2000; ++i) {
    const double x = uniform(random), deviation = 0.1 + (x - 300) / 800;
    const double y = x / 50 + deviation * normal(random);
    table << x << ',' << y << '\n';
    xs << x << '\n';
    ys << y << '\n';
    entropy += 0.5 * std::log(2 * M_PI * std::exp(1.0)) + std::log(deviation);
  }
  for (auto* file : {&table, &xs, &ys}) file->close();
  const std::vector<std::string> with{"--flow",    "nsf",
                                      "--set",     "model.autoregressive=true",
                                      "--set",     "model.layers=2",
                                      "steps=400", "learning_rate=5e-3"};
  auto by_columns = training(path("pairs.csv"), with);
  by_columns.insert(by_columns.end(), {"--context-columns", "1"});
  ASSERT_EQ(run(by_columns).code, 0);
  const auto eval = run({"eval", "--flow", flow(), "--data", path("pairs.csv"), "--context-columns", "1", "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_NEAR(json::parse(eval.out)["nats"].get<double>(), -entropy / 2000, 0.05);
  // The same from files of their own.
  const auto apart = run({"eval", "--flow", flow(), "--data", path("y.csv"), "--context", path("x.csv"), "--json"});
  EXPECT_EQ(json::parse(apart.out)["nats"], json::parse(eval.out)["nats"]) << apart.err;

  std::ofstream(path("two.csv")) << "400\n600\n";  // which take turns
  ASSERT_EQ(run({"sample", "--flow", flow(), "--context", path("two.csv"), "-n", "2000", "-o", path("s.npy")}).code, 0);
  const auto samples = files::read_npy(path("s.npy"));
  ASSERT_EQ(samples.shape, (std::vector<int64_t>{2000, 1}));
  for (const size_t which : {0, 1}) {
    double mean = 0, square = 0;
    for (size_t i = which; i < 2000; i += 2) mean += samples.values[i] / 1000;
    for (size_t i = which; i < 2000; i += 2) square += (samples.values[i] - mean) * (samples.values[i] - mean) / 1000;
    EXPECT_NEAR(mean, which == 0 ? 8 : 12, 0.1);
    EXPECT_NEAR(std::sqrt(square), which == 0 ? 0.225 : 0.475, 0.06);
  }
  ASSERT_EQ(run({"sample", "--flow", flow(), "--context", path("two.csv"), "-o", path("one_each.npy")}).code, 0);
  EXPECT_EQ(files::read_npy(path("one_each.npy")).shape[0], 2);

  const auto refused = [&](std::vector<std::string> arguments, int code, const std::string& why) {
    std::ranges::replace(arguments, path("run"), path("other"));
    const auto ran = run(std::move(arguments));
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_NE(ran.err.find(why), std::string::npos) << ran.err;
  };
  refused({"sample", "--flow", flow(), "-o", path("n.npy")}, 64, "--given");
  refused({"eval", "--flow", flow(), "--data", path("pairs.csv")}, 64, "--context-columns");
  refused({"eval", "--flow", flow(), "--data", path("y.csv"), "--context", path("x.csv"), "--labels", path("x.csv")},
          64, "--labels");
  const auto bench = run({"bench", "--flow", flow(), "--batch", "2", "--seconds", "0.01", "--json"});
  EXPECT_LT(json::parse(bench.out)["largest_difference_in_log_density"].get<double>(), 1e-3);
  refused({"eval", "--flow", flow(), "--data", path("y.csv")}, 64, "--context");
  refused({"sample", "--flow", flow(), "--class", "0", "-o", path("n.npy")}, 64, "--class");
  refused({"sample", "--flow", flow(), "--context", path("pairs.csv"), "-o", path("n.npy")}, 65, "2 numbers");
  refused({"eval", "--flow", flow(), "--data", path("y.csv"), "--context", path("two.csv")}, 65, "2 rows of context");
  refused({"plot", "--kind", "density", "--flow", flow(), "--data", path("pairs.csv"), "--context-columns", "1", "-o",
           path("p.png")},
          64, "plane");
  ASSERT_EQ(run({"sample", "--flow", flow(), "--given", "400", "-n", "2", "-o", path("g.npy")}).code, 0);
  EXPECT_EQ(files::read_npy(path("g.npy")).values[0], samples.values[0]);
  refused({"sample", "--flow", flow(), "--given", "1", "2", "-o", path("n.npy")}, 64, "wants 1 numbers, not 2");
  auto both = training(path("pairs.csv"), {"--flow", "nsf", "--context-columns", "1", "--context", path("x.csv")});
  refused(both, 64, "give one");
  refused(training(path("pairs.csv"), {"--flow", "nsf", "--context-columns", "2"}), 65, "no 2 columns to spare");
  refused(training("banana", {"--flow", "nsf", "--context-columns", "1"}), 64, "no context");
}

/// A ring whose radius is the context, as a picture: the window is the data's, the ring the one that was asked for.
TEST_F(FlowCli, PictureOfWhatIsGiven) {
  std::mt19937 random(4);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::ofstream table(path("rings.csv"));
  for (int i = 0; i < 500; ++i) {
    const double radius = 1 + uniform(random), angle = 2 * M_PI * uniform(random);
    table << radius << ',' << radius * std::cos(angle) << ',' << radius * std::sin(angle) << '\n';
  }
  table.close();
  const auto trained =
      run(training(path("rings.csv"), {"--flow", "nsf", "--context-columns", "1", "--set", "steps=20"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto picture = [&](const std::string& kind, const std::vector<std::string>& given) {
    std::vector<std::string> all{"plot",
                                 "--kind",
                                 kind,
                                 "--flow",
                                 flow(),
                                 "--data",
                                 path("rings.csv"),
                                 "--context-columns",
                                 "1",
                                 "-o",
                                 path(kind + ".png"),
                                 "--force"};
    all.insert(all.end(), given.begin(), given.end());
    return run(all);
  };
  for (const std::string kind : {"density", "grid"}) {
    ASSERT_EQ(picture(kind, {"--given", "1"}).code, 0);
    const auto one = text_of(path(kind + ".png"));
    ASSERT_EQ(picture(kind, {"--given", "2"}).code, 0);
    EXPECT_NE(text_of(path(kind + ".png")), one);
    EXPECT_NE(picture(kind, {}).err.find("--given"), std::string::npos);
  }
  EXPECT_EQ(picture("samples", {"--given", "1"}).code, 64);
}

}  // namespace
}  // namespace melflow
