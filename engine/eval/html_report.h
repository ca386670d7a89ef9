#pragma once

#include <string>

#include "engine/eval/evaluator.h"

namespace melflow::engine {

/// The evaluation as one page that needs nothing else, no network and no scripts: a table of the measures and, for
/// every recording that kept its sounds, players, the two mels, and the likelihood as a line over time.
std::string html_report(const Evaluation& evaluation);

}  // namespace melflow::engine
