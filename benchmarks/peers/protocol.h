/* protocol.h -- the tool's side of GradBench's protocol: one JSON message a line on standard input, one
 * answer a line on standard output. A tool is a table of functions, by module and name; see CONTRIBUTING.md
 * of github.com/gradbench/gradbench for the messages.
 */
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace peers {

using nlohmann::json;

/* A size among the inputs: at least `least`, and not so large that it can only be a mistake. */
inline std::size_t size_of(const json &input, const char *name, long least = 0) {
  const json &n = input.at(name);
  if (!n.is_number_integer() || n.get<long>() < least || n.get<long>() > 100000000)
    throw std::invalid_argument(std::string(name) + " is no size");
  return n.get<std::size_t>();
}

/* How often a function is to be evaluated, and the times it took. */
class Runs {
  using clock = std::chrono::steady_clock;
  long least_runs = 1;
  double least_seconds = 0;
  json times = json::array();
  clock::time_point start = clock::now();

  long note(const char *name) {
    long ns = std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start).count();
    times.push_back({{"name", name}, {"nanoseconds", ns}});
    return ns;
  }

 public:
  explicit Runs(const json &input) {
    if (!input.is_object()) return;
    least_runs = std::max(input.value("min_runs", 1L), 1L);
    least_seconds = input.value("min_seconds", 0.0);
  }
  const json &timings() const { return times; }

  /* What a tool does once for many evaluations: recording a tape, for instance. */
  template <class F> auto prepare(F &&f) {
    start = clock::now();
    auto prepared = f();
    note("prepare");
    return prepared;
  }

  /* Calls f at least min_runs times and for at least min_seconds. */
  template <class F> void repeat(F &&f) {
    double seconds = 0;
    for (long run = 0; run < least_runs || seconds < least_seconds; run++) {
      start = clock::now();
      f();
      seconds += 1e-9*static_cast<double>(note("evaluate"));
    }
  }
};

/* An evaluation of one function: takes the input, returns the output, notes the times. */
using Function = std::function<json(const json &input, Runs &runs)>;

class Tool {
  std::string name;
  std::map<std::string, std::map<std::string, Function>> modules;

  json evaluate(const json &message) const {
    auto module = modules.find(message.at("module").get<std::string>());
    if (module == modules.end()) throw std::invalid_argument("unknown module");
    auto function = module->second.find(message.at("function").get<std::string>());
    if (function == module->second.end()) throw std::invalid_argument("unknown function");
    Runs runs(message.at("input"));
    json output = function->second(message.at("input"), runs);
    return {{"success", true}, {"output", std::move(output)}, {"timings", runs.timings()}};
  }

  json answer(const json &message) const {
    if (!message.is_object()) throw std::invalid_argument("the line is not a JSON object");
    const std::string kind = message.value("kind", "");
    if (kind == "start") return {{"tool", name}};
    if (kind == "define") return {{"success", modules.count(message.at("module").get<std::string>()) != 0}};
    if (kind == "evaluate") return evaluate(message);
    return json::object();
  }

 public:
  explicit Tool(const char *tool) : name(tool) {}
  void add(const char *module, const char *function, Function f) { modules[module][function] = std::move(f); }

  /* Answers every message, until the input ends. */
  int serve(std::istream &in, std::ostream &out) const {
    for (std::string line; std::getline(in, line);) {
      json message = json::parse(line, nullptr, false), response;
      try {
        response = answer(message);
      } catch (const std::exception &failure) {
        response = {{"success", false}, {"error", failure.what()}};
      }
      if (message.is_object() && message.contains("id")) response["id"] = message["id"];
      out << response << std::endl;
    }
    return 0;
  }
};

}  // namespace peers
