#include "models/flow/reversible.h"

#include "models/autocast.h"

namespace melflow::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the backward passes of all steps of one forward pass hand on to each other.
struct Tape : torch::CustomClassHolder {
  std::vector<Step> steps;
  AutocastState autocast;
  torch::Tensor end;      ///< what the last step answered
  torch::Tensor current;  ///< what step `current_of` answered
  size_t current_of = 0;
};

torch::Tensor own_channels(const torch::Tensor& state, const Step& step) {
  return step.first_channel == 0 ? state : state.narrow(1, step.first_channel, state.size(1) - step.first_channel);
}

/// The channels that have left, from `all`, then the step's.
torch::Tensor beside_early(const torch::Tensor& all, const Step& step, const torch::Tensor& own) {
  return step.first_channel == 0 ? own : torch::cat({all.narrow(1, 0, step.first_channel), own}, 1);
}

Mapped take(const Step& step, const torch::Tensor& state, const torch::Tensor& context) {
  auto out = step.map->forward(own_channels(state, step), context);
  TORCH_CHECK(out.local.defined(), "forward_reversibly: ", step.name, " does not know its local log-determinant");
  out.value = beside_early(state, step, out.value);
  return out;
}

/// One step in autograd's graph: it holds what surrounds the step, and no activation.
class StepFunction : public torch::autograd::Function<StepFunction> {
 public:
  static variable_list forward(AutogradContext* self, const torch::Tensor& state, const torch::Tensor& context,
                               at::TensorList parameters, const c10::intrusive_ptr<Tape>& tape, int64_t index) {
    self->saved_data["tape"] = c10::IValue::make_capsule(tape);
    self->saved_data["step"] = index;
    variable_list saved{context};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    self->save_for_backward(saved);
    // A network may compute otherwise where no gradient is wanted: it is told the same here as in backward(), so that
    // the inputs found again are those that were. The graph goes at once.
    const torch::AutoGradMode with_graph(true);
    const auto out = take(tape->steps[static_cast<size_t>(index)], state.detach(), context.detach());
    return {out.value.detach(), out.local.detach()};
  }

  static variable_list backward(AutogradContext* self, const variable_list& gradients) {
    const auto tape = c10::static_intrusive_pointer_cast<Tape>(self->saved_data["tape"].toCapsule());
    const auto index = static_cast<size_t>(self->saved_data["step"].toInt());
    const auto saved = self->get_saved_variables();
    const auto& step = tape->steps[index];
    if (index + 1 == tape->steps.size()) {
      tape->current = tape->end;
      tape->current_of = index;
    }
    TORCH_CHECK(tape->current_of == index, "forward_reversibly: two backward passes of one graph at the same time");

    const torch::AutoGradMode with_graph(true);
    const auto context = saved[0].detach().set_requires_grad(true);
    const auto [x, again] = [&] {  // its gradients are computed in what it was: nothing is cast again
      const Autocast autocast(tape->current.device().type(), tape->autocast);
      return step.map->retrace(own_channels(tape->current, step).detach(), context);
    }();
    variable_list inputs{x, context};
    inputs.insert(inputs.end(), saved.begin() + 1, saved.end());
    variable_list outputs{again.value}, to_outputs{own_channels(gradients[0], step)};
    if (again.local.requires_grad()) {
      outputs.push_back(again.local);
      to_outputs.push_back(gradients[1]);
    }
    auto to_inputs = torch::autograd::grad(outputs, inputs, to_outputs, /*retain_graph=*/false, /*create_graph=*/false,
                                           /*allow_unused=*/true);

    const torch::NoGradGuard no_grad;
    tape->current = beside_early(tape->current, step, x.detach());
    tape->current_of = index - 1;
    to_inputs[0] = beside_early(gradients[0], step, to_inputs[0]);
    to_inputs.resize(to_inputs.size() + 2);  // of the tape and the index
    return to_inputs;
  }
};

variable_list trained(const Bijection& map) {
  variable_list out;
  for (const auto& p : map.parameters()) {
    if (p.requires_grad()) out.push_back(p);
  }
  return out;
}

}  // namespace

Mapped forward_reversibly(const std::vector<Step>& steps, const torch::Tensor& x, const torch::Tensor& context) {
  TORCH_CHECK(!steps.empty(), "forward_reversibly: no steps");
  auto tape = c10::make_intrusive<Tape>();
  tape->steps = steps;
  tape->autocast = AutocastState::of(x.device().type());
  auto state = x.to(torch::kFloat64);
  torch::Tensor local;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto parameters = trained(*steps[i].map);
    const auto out = StepFunction::apply(state, context, at::TensorList(parameters), tape, static_cast<int64_t>(i));
    state = out[0];
    local = local.defined() ? local + out[1] : out[1];
  }
  tape->end = state.detach();
  return {state.to(x.scalar_type()), local.sum(1).to(x.scalar_type()), local.to(x.scalar_type())};
}

std::vector<double> mean_volumes(const std::vector<Step>& steps, const torch::Tensor& x, const torch::Tensor& context) {
  const torch::NoGradGuard no_grad;
  std::vector<double> out;
  auto state = x;
  for (const auto& step : steps) {
    const auto mapped = take(step, state, context);
    state = mapped.value;
    out.push_back(mapped.local.mean().item<double>());
  }
  return out;
}

}  // namespace melflow::models
