#!/usr/bin/env python3
"""The adit command against its contract: JSON, plain text, carets, exit statuses.

usage: test_command.py path/to/adit      (or the environment variable ADIT)
"""
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ADIT = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else os.environ.get("ADIT", "build/adit")
F = "sin(x + y^2)/sqrt(x)"


def run(*arguments, **options):
    return subprocess.run([ADIT, *arguments], capture_output=True, text=True, timeout=120, **options)


class Command(unittest.TestCase):
    def good(self, *arguments):
        r = run(*arguments)
        self.assertEqual((r.returncode, r.stderr), (0, ""), arguments)
        return r.stdout

    def json(self, *arguments):
        text = self.good(*arguments, "--json")
        self.assertEqual(text.count("\n"), 1)
        return json.loads(text)

    def near(self, a, b, tolerance=1e-14):
        self.assertLessEqual(abs(a - b), tolerance*(1 + abs(b)), (a, b))

    def bad(self, *arguments, status=2):
        r = run(*arguments)
        self.assertEqual((r.returncode, r.stdout), (status, ""), (arguments, r))
        self.assertTrue(r.stderr.startswith("adit"), r.stderr)
        self.assertTrue(r.stderr.endswith("\n"))
        return r.stderr

    def caret(self, column, part, *arguments):
        """The caret stands under byte `column` of the shown line; the message contains part."""
        lines = self.bad(*arguments).splitlines()
        self.assertEqual(len(lines), 3, lines)
        self.assertIn(part, lines[0])
        self.assertEqual(lines[2], " "*(2 + column) + "^", lines)


class Eval(Command):
    def test_value(self):
        self.near(self.json("eval", F, "x=2", "y=1")["value"], math.sin(3)/math.sqrt(2))
        self.near(float(self.good("eval", F, "x=2", "y=1")), math.sin(3)/math.sqrt(2))

    def test_several_outputs_are_a_list(self):
        self.assertEqual(self.json("eval", "a = x + 1; a; a*x; 7", "x=2"), {"value": [3, 6, 7]})

    def test_without_variables(self):
        self.assertEqual(self.json("eval", "2 + 3*4^2"), {"value": 50})

    def test_numbers_have_17_digits(self):
        text = self.good("eval", "x/3", "x=1", "--json")
        self.assertIn("0.33333333333333331", text)

    def test_non_finite_numbers_are_strings(self):
        self.assertEqual(self.json("eval", "1/x; -1/x; log(-1 - x); 1", "x=0"), {"value": ["inf", "-inf", "nan", 1]})

    def test_values_are_expressions(self):
        self.near(self.json("eval", "sin(x)", "x=pi/2")["value"], 1)
        self.near(self.json("eval", "x", "x=-1.5e-3")["value"], -1.5e-3)

    def test_an_expression_may_begin_with_a_minus(self):
        self.assertEqual(self.json("eval", "-x^2", "x=-3"), {"value": -9})
        self.assertEqual(self.good("eval", "--", "--x", "x=-3"), "-3\n")

    def test_e_and_pi_unless_bound(self):
        self.near(self.json("eval", "log(e)")["value"], 1)
        self.assertEqual(self.json("eval", "e*pi", "e=2", "pi=3"), {"value": 6})

    def test_arrays(self):
        self.assertEqual(self.json("eval", "m @ x", "m=[[1,2],[3,4]]", "x=[1,2]"), {"value": [5, 11]})
        self.assertEqual(self.json("eval", "transpose(m)", "m=[[1,2],[3,4]]"), {"value": [[1, 3], [2, 4]]})
        self.assertEqual(self.json("eval", "zeros((2,0)); zeros(0); x > 1", "x=[1,2]"), {"value": [[[], []], [], [0, 1]]})

    def test_names_of_other_alphabets(self):
        self.assertEqual(self.json("eval", "α + 1", "α=1"), {"value": 2})


class Gradient(Command):
    def test_gradient(self):
        r = self.json("grad", F, "x=2", "y=1")
        self.assertEqual(list(r), ["value", "gradient"])
        self.near(r["value"], 0.09978691466023235)
        self.near(r["gradient"]["x"], -0.7249771363350331)
        self.near(r["gradient"]["y"], 2*math.cos(3)/math.sqrt(2))

    def test_wrt_chooses_and_orders(self):
        self.assertEqual(list(self.json("grad", F, "x=2", "y=1", "--wrt", "y")["gradient"]), ["y"])
        self.assertEqual(list(self.json("grad", F, "x=2", "y=1", "--wrt=y,x")["gradient"]), ["y", "x"])

    def test_options_may_stand_anywhere(self):
        self.assertEqual(run("grad", "--json", "x^2", "x=3").stdout, run("grad", "x^2", "x=3", "--json").stdout)

    def test_unused_variables_have_zero(self):
        self.assertEqual(self.json("grad", "x^2", "x=3", "y=1"), {"value": 9, "gradient": {"x": 6, "y": 0}})

    def test_many_uses(self):
        self.assertEqual(self.json("grad", "x*y + y*y + y", "x=2", "y=3"), {"value": 18, "gradient": {"x": 3, "y": 9}})

    def test_edges(self):
        self.assertEqual(self.json("grad", "sqrt(x)", "x=0")["gradient"]["x"], "inf")
        self.assertEqual(self.json("grad", "log(x)", "x=-1"), {"value": "nan", "gradient": {"x": "nan"}})
        self.assertEqual(self.json("grad", "fmax(sqrt(x), 1)", "x=0")["gradient"]["x"], 0)
        self.assertEqual(self.json("grad", "x > 0", "x=1")["gradient"]["x"], 0)

    def test_arrays(self):
        r = self.json("grad", "sum((m @ x)^2)", "m=[[1,2],[3,4]]", "x=[1,2]")
        self.assertEqual(r["value"], 146)
        self.assertEqual(r["gradient"], {"m": [[10, 20], [22, 44]], "x": [76, 108]})

    def test_several_outputs_are_a_jacobian(self):
        self.assertEqual(self.json("grad", "x^2; x*y", "x=2", "y=3"),
                         {"value": [4, 6], "jacobian": [{"x": 4, "y": 0}, {"x": 3, "y": 2}]})

    def test_plain(self):
        self.assertEqual(self.good("grad", "x^2*y + y + 2", "x=2", "y=3").split(),
                         ["f", "17", "df/dx", "12", "df/dy", "5"])


class Jacobian(Command):
    def test_jacobian(self):
        r = self.json("jacobian", "x^2 + y^2; x*y; sin(x) + cos(y)", "x=2", "y=3")
        self.assertEqual(r["value"][:2], [13, 6])
        self.assertEqual(r["jacobian"][:2], [{"x": 4, "y": 6}, {"x": 3, "y": 2}])
        self.near(r["jacobian"][2]["y"], -math.sin(3))

    def test_one_output_is_a_list_too(self):
        self.assertEqual(self.json("jacobian", "x^2", "x=3"), {"value": [9], "jacobian": [{"x": 6}]})

    def test_arrays(self):
        self.assertEqual(self.json("jacobian", "m @ x", "m=[[1,2],[3,4]]", "x=[5,6]", "--wrt", "x")["jacobian"],
                         [{"x": [[1, 2], [3, 4]]}])


class Hessian(Command):
    def test_hessian(self):
        r = self.json("hessian", "x^2*y + y + 2", "x=2", "y=3")
        self.assertEqual(r["value"], 17)
        self.assertEqual(r["gradient"], {"x": 12, "y": 5})
        self.assertEqual(r["hessian"], {"x": {"x": 6, "y": 4}, "y": {"x": 4, "y": 0}})

    def test_wrt(self):
        self.assertEqual(self.json("hessian", "x^3*y", "x=3", "y=1", "--wrt", "x")["hessian"], {"x": {"x": 18}})

    def test_arrays(self):
        self.assertEqual(self.json("hessian", "sum(x^3)", "x=[1,2]")["hessian"], {"x": {"x": [[6, 0], [0, 12]]}})

    def test_plain(self):
        self.assertIn("d2f/dx dy", self.good("hessian", "x*y", "x=1", "y=1"))


class Taylor(Command):
    def test_coefficients(self):
        r = self.json("taylor", "exp(x)", "x=0", "--order", "5")
        self.assertEqual(len(r["taylor"]), 6)
        for k, c in enumerate(r["taylor"]):
            self.near(c, 1/math.factorial(k))

    def test_at_another_point(self):
        for k, c in enumerate(self.json("taylor", "log(x)", "x=1", "--order", "8")["taylor"]):
            self.near(c, (-1)**(k + 1)/k if k else 0)

    def test_others_are_constant(self):
        r = self.json("taylor", "x^2*y", "x=1", "y=3", "--wrt", "x", "--order", "3")
        self.assertEqual(r["taylor"], [3, 6, 3, 0])

    def test_order_zero(self):
        self.assertEqual(self.json("taylor", "x^2", "x=3", "--order", "0"), {"taylor": [9]})

    def test_one_variable_is_needed(self):
        self.assertIn("--wrt", self.bad("taylor", "x*y", "x=1", "y=2"))


class Derive(Command):
    def test_textbook(self):
        self.assertEqual(self.good("derive", "sin(x + x^2)/sqrt(x)", "--wrt", "x"),
                         "(1 + 2*x)*cos(x + x^2)/sqrt(x) - sin(x + x^2)/(2*x^(3/2))\n")

    def test_latex(self):
        self.assertEqual(self.good("derive", "sqrt(x)", "--wrt", "x", "--latex"), "\\frac{1}{2 \\sqrt{x}}\n")

    def test_several_names(self):
        self.assertEqual(self.json("derive", "x^2*y"), {"derivative": {"x": "2*x*y", "y": "x^2"}})
        self.assertEqual(self.good("derive", "x^2*y", "--wrt", "x,y"), "df/dx = 2*x*y\ndf/dy = x^2\n")

    def test_latex_names(self):
        self.assertEqual(self.good("derive", "x1^2*theta", "--wrt", "x1,theta", "--latex"),
                         "\\frac{\\partial f}{\\partial x_{1}} = 2 \\theta x_{1}\n"
                         "\\frac{\\partial f}{\\partial \\theta} = x_{1}^{2}\n")

    def test_order(self):
        self.assertEqual(self.good("derive", "x^4", "--order", "2"), "12*x^2\n")

    def test_result_reads_back(self):
        text = self.good("derive", F, "--wrt", "x").strip()
        self.near(self.json("eval", text, "x=2", "y=1")["value"], -0.7249771363350331)

    def test_errors(self):
        self.caret(4, "arrays", "derive", "x + sum(x)", "--wrt", "x")
        self.assertIn("no variable", self.bad("derive", "1 + 2"))


class Trace(Command):
    def test_the_list_and_both_sweeps(self):
        text = self.good("trace", F, "x=2", "y=1")
        for line in ["v_-1 = x = 2", "v_0 = y = 1", "v_1 = v_0^2 = 1", "v_2 = v_-1 + v_1 = 3", "v_3 = sin(v_2) = 0.1411200081",
                     "vdot_3 = vdot_2*cos(v_2) = -0.9899924966", "vbar_5 = 1 = 1", "vbar_2 += vbar_3*cos(v_2) = -0.7000304077",
                     "df/dx = vbar_-1 = -0.7249771363"]:
            self.assertIn(line, re.sub(" +", " ", text))

    def test_json_is_consistent(self):
        r = self.json("trace", F, "x=2", "y=1")
        value = {n["node"]: n["value"] for n in r["inputs"] + r["nodes"]}
        self.near(value["v_5"], r["value"])
        adjoint = {}
        for step in r["reverse"][0]["steps"]:
            for c in step["contributions"]:
                adjoint[c["to"]] = adjoint.get(c["to"], 0) + c["value"]
            if step["node"] in adjoint:
                self.near(step["adjoint"], adjoint[step["node"]])
        self.near(adjoint["v_-1"], r["reverse"][0]["gradient"]["x"])
        last = {f["variable"]: f["steps"][-1]["tangent"] for f in r["forward"]}
        self.near(last["x"], r["reverse"][0]["gradient"]["x"])
        self.near(last["y"], r["reverse"][0]["gradient"]["y"])

    def test_branches_not_taken_get_nothing(self):
        r = self.json("trace", "x > 0 ? x*y : fmax(x, y)", "x=-1", "y=-2")
        self.assertEqual(r["reverse"][0]["gradient"], {"x": 1, "y": 0})

    def test_an_operand_used_twice(self):
        r = self.json("trace", "x*x", "x=3")
        self.assertEqual([c["value"] for c in r["reverse"][0]["steps"][0]["contributions"]], [3, 3])

    def test_arrays(self):
        self.assertIn("vbar_0", self.good("trace", "sum(x^2)", "x=[1,2]"))


class Check(Command):
    def test_all_methods(self):
        for row in self.json("check", F, "x=2", "y=1")["check"]:
            methods = row["methods"]
            self.assertEqual(set(methods), {"two-point", "five-point", "symbolic", "forward", "reverse"})
            self.assertGreater(methods["two-point"]["step"], methods["reverse"].get("step", 0))
            for name, tolerance in [("two-point", 1e-6), ("five-point", 1e-10), ("symbolic", 1e-14), ("forward", 1e-15),
                                    ("reverse", 1e-15)]:
                self.assertLess(methods[name]["error"], tolerance, row)
                self.near(methods[name]["value"], row["reference"], tolerance)

    def test_the_reference_is_better_than_double(self):
        row = self.json("check", "digamma(x)*erfinv(x)*sinpi(x)", "x=0.3")["check"][0]
        self.assertTrue(row["extended"])
        self.assertLess(row["methods"]["reverse"]["error"], 1e-13*(1 + abs(row["reference"])))

    def test_plain(self):
        text = self.good("check", "x^2", "x=3")
        for word in ["two-point", "five-point", "symbolic", "forward", "reverse", "reference", "step", "error"]:
            self.assertIn(word, text)


class Draw(Command):
    def setUp(self):
        self.folder = tempfile.mkdtemp()

    def tearDown(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def test_dot(self):
        self.assertEqual(self.good("draw", F, "x=2", "y=1", "-o", self.path("g.dot")), "")
        text = self.read("g.dot")
        self.assertIn("digraph", text)
        self.assertIn("v_3 = sin(v_2)\\nsin\\nvalue 0.14112001\\nadjoint 0.70710678", text)
        self.assertEqual(text, self.good("draw", F, "x=2", "y=1"))

    @unittest.skipUnless(shutil.which("dot"), "Graphviz is not installed")
    def test_svg_and_html(self):
        # a name with a space, quotes and a semicolon must not reach a shell
        name = "a b'\";touch x.svg"
        self.good("draw", F, "x=2", "y=1", "-o", self.path(name))
        self.assertTrue(xml.etree.ElementTree.parse(self.path(name)).getroot().tag.endswith("svg"))
        self.assertEqual(os.listdir(self.folder), [name])
        self.good("draw", "x < y ? x : y", "x=2", "y=1", "-o", self.path("g.html"))
        page = self.read("g.html")
        self.assertIn("x &lt; y ? x : y", page)
        self.assertIn("<svg", page)

    def test_without_graphviz(self):
        r = run("draw", "x", "x=1", "-o", self.path("g.svg"), env={**os.environ, "PATH": self.folder})
        self.assertEqual((r.returncode, r.stdout), (1, ""))
        self.assertIn("apt install graphviz", r.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_errors(self):
        self.assertIn(".svg", self.bad("draw", "x", "x=1", "-o", "g.png"))
        self.assertIn("cannot write", self.bad("draw", "x", "x=1", "-o", self.path("no/such/g.dot")))


class BadInput(Command):
    def test_carets(self):
        self.caret(4, "the text ends", "eval", "x + ", "x=1")
        self.caret(3, "not closed", "eval", "sin(x", "x=1")
        self.caret(0, "no function is called 'foo'", "eval", "foo(x)", "x=1")
        self.caret(4, "'y' has no value", "grad", "x + y", "x=1")
        self.caret(5, "'*' stands where a value should", "eval", "x + (*y)", "x=1", "y=1")
        self.caret(2, "inner dimensions differ", "eval", "x @ y", "x=[1,2]", "y=[1,2,3]")
        self.caret(4, "the text ends", "eval", "x", "x=1+")
        self.caret(2, "'z' has no value", "eval", "x", "x=z")
        self.caret(0, "name=value", "eval", "x", "3")
        self.caret(0, "given twice", "eval", "x", "x=1", "x=2")
        self.caret(1, "'$' stands where", "eval", "α$", "α=1")

    def test_the_right_line_of_several(self):
        lines = self.bad("eval", "a = 1;\nb = a + ;\nb").splitlines()
        self.assertEqual(lines[1:], ["  b = a + ;", "          ^"])

    def test_long_lines_are_cut_around_the_spot(self):
        lines = self.bad("eval", "1 + "*1000 + "q" + " + 1"*1000).splitlines()
        self.assertLess(len(lines[1]), 200)
        self.assertEqual(lines[1][lines[2].index("^")], "q")

    def test_options(self):
        self.assertIn("unknown option --foo", self.bad("eval", "x", "x=1", "--foo"))
        self.assertIn("--order", self.bad("taylor", "x", "x=1", "--order", "many"))
        self.assertIn("--wrt", self.bad("grad", "x", "x=1", "--wrt", "q"))
        self.assertIn("--wrt", self.bad("grad", "x", "x=1", "--wrt", "x,,y"))
        self.assertIn("expression is missing", self.bad("grad"))
        self.assertIn("no command 'foo'", self.bad("foo"))
        self.assertEqual(run().returncode, 2)
        self.assertEqual(run().stdout, "")

    def test_shapes(self):
        self.assertIn("array", self.bad("grad", "x", "x=[1,2]"))
        self.assertIn("array", self.bad("taylor", "sum(x)", "x=[1,2]"))
        self.assertIn("array", self.bad("check", "sum(x)", "x=[1,2]"))

    def test_errors_while_running_leave_nothing_on_stdout(self):
        self.bad("eval", "x; take(x, [7])", "x=[1,2]")
        self.bad("eval", "x; take(x, [7])", "x=[1,2]", "--json")

    def test_deep_nesting(self):
        self.assertIn("nesting", self.bad("eval", "("*20000 + "x" + ")"*20000, "x=1"))

    def test_emit_refuses(self):
        for bad in [("emit", "x^2", "-o", "f.txt"), ("emit", "x^2", "-o", "1f.c"), ("emit", "x; y", "--gradient"),
                    ("emit", "x +", "-o", "f.c"), ("emit", "[x, 2]", "--hessian")]:
            self.bad(*bad)
        self.assertFalse(os.path.exists("f.c"))



class Emit(Command):
    """Written C, compiled, prints what the command itself does."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()

    def tearDown(self):
        shutil.rmtree(self.folder)

    def compiled(self, main, *arguments):
        path = os.path.join(self.folder, "f.c")
        self.good("emit", *arguments, "-o", path)
        with open(os.path.join(self.folder, "main.c"), "w") as f:
            f.write('#include "f.h"\n#include <stdio.h>\n' + main)
        strict = "-std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror".split()
        program = os.path.join(self.folder, "f")
        subprocess.run(["cc", *strict, path, os.path.join(self.folder, "main.c"), "-o", program, "-lm"], check=True)
        return subprocess.run([program], capture_output=True, text=True, check=True).stdout

    def test_gradient(self):
        got = self.compiled("""int main(void) {
          double x = 2, y = 1, v, dx, dy;
          f_gradient(&x, &y, &v, &dx, &dy, 0);
          printf("%.17g %.17g %.17g\\n", v, dx, dy);
        }""", "sin(x + y^2)/sqrt(x)", "--gradient")
        grad = json.loads(self.good("grad", "sin(x + y^2)/sqrt(x)", "x=2", "y=1", "--json"))
        for a, b in zip(map(float, got.split()), [grad["value"], grad["gradient"]["x"], grad["gradient"]["y"]]):
            self.assertAlmostEqual(a, b, delta=1e-15*(1 + abs(b)))

    def test_several_outputs_and_all_derivatives(self):
        got = self.compiled("""int main(void) {
          double x = 0.5, y = 2, a, b, j[4];
          f(&x, &y, &a, &b, 0);
          f_jacobian(&x, &y, j, j + 1, j + 2, j + 3, 0);
          printf("%.17g %.17g %.17g %.17g %.17g %.17g\\n", a, b, j[0], j[1], j[2], j[3]);
        }""", "digamma(x)*y; tanh(x) + y^3", "--jacobian", "--jvp", "--vjp")
        want = [math.nan, math.tanh(0.5) + 8, math.nan, math.nan, 1 - math.tanh(0.5)**2, 12]
        for a, b in zip(map(float, got.split()), want):
            if not math.isnan(b):
                self.assertAlmostEqual(a, b, delta=1e-14*(1 + abs(b)))
        self.assertAlmostEqual(float(got.split()[0]), -1.9635100260214235*2, delta=1e-14)

    def test_casadi(self):
        for option, integer in [("--casadi", "long long int"), ("--casadi=int", "int")]:
            got = self.compiled("""int main(void) {
              const double a[4] = { 1, 2, 3, 4 }, *arg[2] = { a, 0 };
              double value, by_a[4], *res[3] = { &value, by_a, 0 }, w[f_gradient_SZ_W];
              INTEGER sizes[4];
              if (f_gradient_work(sizes, sizes + 1, sizes + 2, sizes + 3) || sizes[3] != f_gradient_SZ_W) return 1;
              if (f_gradient(arg, res, 0, w, f_gradient_checkout())) return 1;
              printf("%g %g %g %g %g", value, by_a[0], by_a[1], by_a[2], by_a[3]);
            }""".replace("INTEGER", integer), "sum([[1,3],[5,7]]*a) + x", "a=[[1,1],[1,1]]", "--gradient", option)
            self.assertEqual(got, f"{1 + 2*5 + 3*3 + 4*7} 1 5 3 7")
        self.bad("emit", "x", "--casadi=short")

    def test_the_text_is_reproducible(self):
        self.assertEqual(self.good("emit", "x*exp(y)", "--hessian"), self.good("emit", "x*exp(y)", "--hessian"))


class Report(Command):
    """What formulas cost, in closed form."""

    def test_closed_form(self):
        # sum of y^2, / and the product of the sine: 3 flops, sin and sqrt are calls
        cost = self.json("report", F)
        self.assertEqual(list(cost), ["value", "gradient", "hessian"])
        self.assertEqual((cost["value"]["flops"], cost["value"]["calls"], cost["value"]["operations"]), (3, 2, 5))
        self.assertEqual(cost["value"]["bytes_read"], 16)
        for derivative in ("gradient", "hessian"):
            self.assertGreater(cost[derivative]["flops"], cost["value"]["flops"])
            self.assertGreater(cost[derivative]["workspace_bytes"], 0)

    def test_shapes_come_from_values(self):
        for n in (1, 5, 40):
            matrix = "[" + ",".join(["[" + ",".join(["1"]*n) + "]"]*n) + "]"
            cost = self.json("report", "matmul(a, a)", "a=" + matrix, "--jvp")
            self.assertEqual(list(cost), ["value", "jvp"])
            self.assertEqual(cost["value"]["flops"], 2*n**3)
            self.assertEqual(cost["jvp"]["flops"], 6*n**3 + n**2)

    def test_columns(self):
        self.assertEqual(list(self.json("report", "x*y; x + y")), ["value", "jvp", "vjp", "jacobian"])
        self.assertEqual(list(self.json("report", "x*y", "--vjp", "--hessian")), ["value", "vjp", "hessian"])

    def test_by_some_names(self):
        # the derivative by x alone is cos(x) y: one call more; by y alone it is sin(x), and none
        by = {names: self.json("report", "sin(x)*y", *names, "--gradient")["gradient"]
              for names in ((), ("--wrt", "x"), ("--wrt", "y"), ("--wrt", "x,y"))}
        self.assertEqual([by[names]["calls"] for names in by], [2, 2, 1, 2])
        self.assertEqual([by[names]["bytes_written"] for names in by], [24, 16, 16, 24])
        self.assertEqual(by["--wrt", "x,y"], by[()])
        # by one name: a value, a slope and a second derivative
        cost = self.json("report", "exp(x*z)*y", "--hessian", "--wrt", "x")
        self.assertEqual((cost["hessian"]["bytes_written"], cost["hessian"]["calls"]), (24, 1))
        self.assertEqual(list(self.json("report", "x*y; x + y", "--wrt", "y")), ["value", "jacobian"])
        # values give shapes, and need not be there
        cost = self.json("report", "sum(exp(x)*y)", "x=[1,2,3]", "--wrt", "x", "--gradient")
        self.assertGreaterEqual(cost["gradient"]["bytes_written"], cost["value"]["bytes_written"] + 3*8)
        text = self.good("report", "sin(x)*y", "--gradient", "--wrt", "y")
        row = next(line for line in text.splitlines() if line.startswith("elementary calls"))
        self.assertEqual(row[26:].split(), ["1", "1"])
        self.bad("report", "sin(x)*y", "--wrt", "z")
        self.bad("report", "sin(x)*y", "--wrt", "x", "--jvp")
        self.bad("report", "x; y", "--wrt", "x", "--vjp")

    def test_text_agrees_with_json(self):
        cost = self.json("report", F, "--gradient")
        rows = {line[:26].strip(): line[26:].split() for line in self.good("report", F, "--gradient").splitlines()[2:]}
        self.assertEqual(rows["one call"], ["value", "gradient"])
        for row, key in [("flops", "flops"), ("elementary calls", "calls"), ("operations", "operations"),
                         ("bytes read", "bytes_read"), ("workspace, bytes", "workspace_bytes")]:
            self.assertEqual(list(map(int, rows[row])), [cost["value"][key], cost["gradient"][key]], row)

    def test_details(self):
        kinds = self.json("report", "exp(x) + x*x*x", "x=[1,2]", "--verbose")["value"]["kinds"]
        self.assertEqual({k: v["elements"] for k, v in kinds.items()}["exp"], 2)
        self.assertEqual(sum(v["flops"] for v in kinds.values()), 2*3)
        text = self.good("report", "exp(x) + x*x*x", "x=[1,2]", "--verbose")
        self.assertIn("fused regions:", text)
        self.assertIn("4 operations on 2 elements, reads 1 operand, writes 1", text)

    def test_report_refuses(self):
        self.bad("report", "x; y", "--gradient")
        self.bad("report", "[x, 2]", "--hessian")
        self.bad("report", "x", "--casadi")
        self.bad("report")
        self.caret(3, "", "report", "x +")


class Help(Command):
    def test_options_that_would_be_ignored_are_refused(self):
        taken = {"eval": "json", "grad": "json wrt", "jacobian": "json wrt", "hessian": "json wrt",
                 "taylor": "json wrt order", "derive": "json wrt order latex", "trace": "json wrt",
                 "check": "json wrt", "draw": "output", "emit": "output", "report": "json wrt verbose"}
        words = {"json": ["--json"], "wrt": ["--wrt", "x"], "order": ["--order", "1"], "latex": ["--latex"],
                 "verbose": ["--verbose"]}
        with tempfile.TemporaryDirectory() as folder:
            words["output"] = ["-o", os.path.join(folder, "f.c")]
            for command, options in taken.items():
                for option, arguments in words.items():
                    name = arguments[:-1] + [arguments[-1].replace(".c", ".svg")] if command == "draw" else arguments
                    if option in options.split():
                        self.good(command, "sin(x)", "x=1", *name)
                    else:
                        self.assertIn(f"{arguments[0]} is no option of adit {command}",
                                      self.bad(command, "sin(x)", "x=1", *name))

    def test_help_names_every_command(self):
        for text in [self.good("--help"), self.good("-h"), self.good("help")]:
            for name in "eval grad jacobian hessian taylor derive trace check draw emit report".split():
                self.assertIn(f"  {name} ", text)
        self.assertIn("usage: adit grad", self.good("grad", "--help"))

    def test_version(self):
        self.assertRegex(self.good("--version"), r"^adit \d+\.\d+\.\d+\n$")

    def test_a_closed_pipe_is_an_error_not_a_signal(self):
        r = subprocess.run(["sh", "-c", '"$0" --help | true; exit 0', ADIT], capture_output=True)
        self.assertEqual(r.returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[1:])
