#!/usr/bin/env python3
"""Tests the reading of C++ that the other checks rely on."""
import unittest

from sources import code_only, functions

SAMPLE = '''// A sample.
#include "a/b.h"
namespace sample {
extern "C" int entry(const uint8_t* data, size_t size) {
  return 0;
}
class Widget final : public Base<int, long> {
 public:
  Widget(int a, std::map<int, std::vector<long>> b) : a_{a}, b_(b) {
    if (a) { f(); }
  }
  bool operator()(int a, int b) const;
  std::function<void(int, int, int, int, int, int)> callback_;
  int value_ = f(1, 2, 3, 4, 5, 6, 7);
};
template <typename T> requires (sizeof(T) < 8) int pick(T a, std::pair<int, int> b = {1, 2}) {
  return a < b;
}
constinit const DriverSpec spec{
    .open = [](int a) { return a; },
};
auto six(int a, int b, int c, int d, int e, int f) -> Task<Result<void>>;
TEST(Subject, Claims) {
  EXPECT_EQ('"', "\\"{");
  auto json = R"({ "x": 1 })";
}
}
'''


class Functions(unittest.TestCase):
    def setUp(self):
        self.found = {function.name: function for function in functions(SAMPLE)}

    def test_finds_functions_and_nothing_else(self):
        self.assertEqual(list(self.found), ["entry", "Widget", "b_", "operator_call", "pick",
                                            "six", "TEST"])

    def test_counts_parameters_outside_of_brackets(self):
        counts = {name: self.found[name].parameters for name in ("Widget", "pick", "six", "entry")}
        self.assertEqual(counts, {"Widget": 2, "pick": 2, "six": 6, "entry": 2})

    def test_counts_lines_of_bodies(self):
        self.assertEqual((self.found["entry"].line, self.found["entry"].lines), (4, 3))
        self.assertEqual((self.found["pick"].lines, self.found["six"].lines), (3, 0))
        self.assertEqual((self.found["TEST"].lines, self.found["TEST"].is_test), (4, True))

    def test_blanks_literals_and_keeps_lines(self):
        code = code_only(SAMPLE)
        self.assertEqual(code.count("\n"), SAMPLE.count("\n"))
        self.assertNotIn("x", code.split("json =")[1].split(";")[0])


if __name__ == "__main__":
    unittest.main()
