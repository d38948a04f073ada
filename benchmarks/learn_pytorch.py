"""PyTorch's side of learn.c, which starts this program and tells it what to do, a line at a time:

    pick CASE        tries all ways of CASE for a moment and keeps the fastest; answers with its name
    result CASE N    answers with the bytes (f32) of the results after N runs from the start
    time CASE N      answers with the seconds of processor time of N runs, after WARM from the start
    quit

Every case is written in all the ways that might be the fastest: eager code, traced code (torch.jit.trace), one
loss for all tasks, functorch. Nothing that is timed makes tensors that could have been made before. One thread.
"""
import sys
import time

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    import functorch
except ImportError as missing:
    sys.exit("learn_pytorch.py: %s" % missing)

torch.set_num_threads(1)
WARM = 2                                               # runs before the clock starts, as in learn.c


def fill(key, *shape, scale=1.0):
    """The same numbers as fill() of learn.c: a hash of the index, uniform in [-scale, scale)."""
    h = np.arange(int(np.prod(shape)), dtype=np.uint32)*np.uint32(0x9E3779B1)
    h += np.uint32(key*0x85EBCA77 % 2**32)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39), (15, 1)):
        h = (h ^ (h >> np.uint32(shift)))*np.uint32(factor)
    return torch.from_numpy((scale*(h/2.0**31 - 1)).astype(np.float32).reshape(shape))


def layers(*sizes):
    """Weights (in, out) and biases, as in start_of_network of learn.c."""
    p = []
    for k, (n, m) in enumerate(zip(sizes, sizes[1:])):
        p += [fill(2*k + 1, n, m, scale=np.sqrt(6/(n + m))), fill(2*k + 2, m, scale=0.1)]
    return p


class Learner:
    """Parameters that steps change in place. Ways: name -> function that makes a step from the parameters."""

    def __init__(self, start, ways):
        self.start, self.ways = start, ways

    def reset(self, way):
        self.p = [w.clone().requires_grad_() for w in self.start]
        self.run = self.ways[way](self.p)

    def result(self):
        return self.p


class Call:
    """A function of fixed arguments. Ways: name -> function without arguments that returns tensors."""

    def __init__(self, ways):
        self.ways = ways

    def reset(self, way):
        call = self.ways[way]

        def run():
            self.out = call()
        self.run = run

    def result(self):
        return self.out


# --- optimisers --------------------------------------------------------------------------------------------

def descend(p, loss, rate):
    """Gradients by autograd.grad, updates in place, without an optimiser object."""
    def step():
        g = torch.autograd.grad(loss(p), p)
        with torch.no_grad():
            torch._foreach_sub_(p, g, alpha=rate)
    return step


def optimise(p, loss, optimiser):
    def step():
        optimiser.zero_grad(set_to_none=True)
        loss(p).backward()
        optimiser.step()
    return step


def by_hand_adam(p, loss, rate):
    """Adam by the foreach operations, in the form with one division: 10 calls for all parameters together."""
    m = [torch.zeros_like(w) for w in p]
    v = [torch.zeros_like(w) for w in p]
    count = 0

    def step():
        nonlocal count
        count += 1
        g = torch.autograd.grad(loss(p), p)
        with torch.no_grad():
            correction = np.sqrt(1 - 0.999**count)
            torch._foreach_mul_(m, 0.9)
            torch._foreach_add_(m, g, alpha=0.1)
            torch._foreach_mul_(v, 0.999)
            torch._foreach_addcmul_(v, g, g, 0.001)
            d = torch._foreach_sqrt(v)
            torch._foreach_add_(d, 1e-8*correction)
            torch._foreach_addcdiv_(p, m, d, -rate*correction/(1 - 0.9**count))
    return step


def sgd_ways(loss, traced):
    return {
        "SGD, foreach": lambda p: optimise(p, loss, torch.optim.SGD(p, 0.01, foreach=True)),
        "SGD": lambda p: optimise(p, loss, torch.optim.SGD(p, 0.01, foreach=False)),
        "autograd.grad, foreach_sub": lambda p: descend(p, loss, 0.01),
        "jit.trace, autograd.grad, foreach_sub": lambda p: descend(p, traced, 0.01),
    }


def adam_ways(loss, traced, rate):
    ways = {
        "Adam, foreach": lambda p: optimise(p, loss, torch.optim.Adam(p, rate, foreach=True)),
        "Adam": lambda p: optimise(p, loss, torch.optim.Adam(p, rate, foreach=False)),
        "autograd.grad, foreach operations": lambda p: by_hand_adam(p, loss, rate),
    }
    if traced:
        ways["jit.trace, autograd.grad, foreach operations"] = lambda p: by_hand_adam(p, traced, rate)
        ways["jit.trace, Adam"] = lambda p: optimise(p, traced, torch.optim.Adam(p, rate, foreach=False))
    return ways


# --- the cases ---------------------------------------------------------------------------------------------

def trace(loss, p):
    """The loss as one compiled function of the parameters."""
    example = tuple(w.clone().requires_grad_() for w in p)
    compiled = torch.jit.trace(lambda *p: loss(p), example, check_trace=False)
    return lambda p: compiled(*p)


def small_network():
    x, target, start = fill(11, 100, 10), fill(12, 100, 1), layers(10, 5, 1)

    def loss(p):
        h = torch.relu(torch.addmm(p[1], x, p[0]))
        return F.mse_loss(torch.addmm(p[3], h, p[2]), target)
    return Learner(start, sgd_ways(loss, trace(loss, start)))


def equation_network():
    x = torch.linspace(0, 1, 100, dtype=torch.float64).float().reshape(100, 1)
    ones, start, end = torch.ones(100, 1), layers(1, 20, 20, 1), float(np.sin(1))

    def network(p, x):
        h = torch.tanh(torch.addmm(p[1], x, p[0]))
        h = torch.tanh(torch.addmm(p[3], h, p[2]))
        return torch.addmm(p[5], h, p[4])

    def loss_with(net):
        def loss(p):
            at = x.clone().requires_grad_()
            u = net(p, at)
            first, = torch.autograd.grad(u, at, ones, create_graph=True)
            second, = torch.autograd.grad(first, at, ones, create_graph=True)
            return torch.mean((second + u)**2) + u[0, 0]**2 + (u[-1, 0] - end)**2
        return loss

    def functional(p):
        along = lambda x: functorch.jvp(lambda x: network(p, x), (x,), (ones,))
        (u, _), (_, second) = functorch.jvp(along, (x,), (ones,))
        return torch.mean((second + u)**2) + u[0, 0]**2 + (u[-1, 0] - end)**2
    example = tuple(w.clone().requires_grad_() for w in start) + (x.clone().requires_grad_(),)
    compiled = torch.jit.trace(lambda *a: network(a[:-1], a[-1]), example, check_trace=False)
    ways = adam_ways(loss_with(network), loss_with(lambda p, x: compiled(*p, x)), 1e-3)
    ways["functorch.jvp twice, Adam"] = lambda p: by_hand_adam(p, functional, 1e-3)
    return Learner(start, ways)


def learning_to_learn():
    tasks, points = 5, 10
    a, b = fill(21, tasks, 5, 1), fill(22, tasks, 1, 1)
    x = [fill(23, tasks, points, 5), fill(24, tasks, points, 5)]
    y = [(torch.bmm(at.double(), a.double()) + b.double()).float() for at in x]
    start = layers(5, 20, 1)

    def error(w, x, y):
        h = torch.tanh(torch.addmm(w[1], x, w[0]))
        return F.mse_loss(torch.addmm(w[3], h, w[2]), y)

    def one_by_one(p):
        total = 0
        for k in range(tasks):
            w = p
            for _ in range(5):
                g = torch.autograd.grad(error(w, x[0][k], y[0][k]), w, create_graph=True)
                w = [v - 0.1*d for v, d in zip(w, g)]
            total = total + error(w, x[1][k], y[1][k])
        return total/tasks

    def errors(w, x, y):
        """The sum over tasks of their losses, all tasks in one product."""
        h = torch.tanh(torch.baddbmm(w[1], x, w[0]))
        return torch.sum((torch.baddbmm(w[3], h, w[2]) - y)**2)/points

    def together(p):
        w = [v.expand(tasks, *v.shape[-2:]) if v.dim() == 2 else v.expand(tasks, 1, *v.shape) for v in p]
        for _ in range(5):
            g = torch.autograd.grad(errors(w, x[0], y[0]), w, create_graph=True)
            w = [v - 0.1*d for v, d in zip(w, g)]
        return errors(w, x[1], y[1])/tasks
    ways = {"tasks together, " + name: way for name, way in adam_ways(together, None, 1e-2).items()}
    ways["one by one"] = lambda p: by_hand_adam(p, one_by_one, 1e-2)
    return Learner(start, ways)


def soft_sort():
    x, weight = torch.tensor([0.3, -0.5, 0.9]), torch.tensor([1.0, 2.0, 3.0])
    factor = torch.tensor([[2.0], [0.0], [-2.0]])

    def sort(x):
        crowd = torch.abs(x.unsqueeze(1) - x).sum(1)
        return torch.softmax(factor*x - crowd, 1) @ x

    def value_and_gradient(sort):
        def run():
            at = x.detach().requires_grad_()
            y = sort(at)
            return y.detach(), torch.autograd.grad(y, at, weight)[0]
        return run
    compiled = torch.jit.trace(sort, x.clone().requires_grad_(), check_trace=False)
    return Call({"autograd.grad": value_and_gradient(sort),
                 "jit.trace, autograd.grad": value_and_gradient(compiled)})


def rosenbrock():
    x = torch.from_numpy((0.5 + 0.01*np.arange(100)).astype(np.float32))

    def f(x):
        r, s = x[1:] - x[:-1]**2, 1 - x[:-1]
        return torch.sum(100*r**2 + s**2)
    plain = torch.autograd.functional.hessian
    forward_over_reverse, reverse_over_reverse = functorch.hessian(f), functorch.jacrev(functorch.jacrev(f))
    return Call({
        "autograd.functional.hessian": lambda: [plain(f, x)],
        "autograd.functional.hessian, vectorize": lambda: [plain(f, x, vectorize=True)],
        "autograd.functional.hessian, vectorize, forward mode":
            lambda: [plain(f, x, vectorize=True, outer_jacobian_strategy="forward-mode")],
        "functorch.hessian": lambda: [forward_over_reverse(x)],
        "functorch.jacrev twice": lambda: [reverse_over_reverse(x)],
    })


def three(a, b):
    return a*a + b*b, a*b, torch.sin(a) + torch.cos(b)


def tangents():
    x, dx = [torch.tensor(2.0), torch.tensor(3.0)], [torch.tensor(1.0), torch.tensor(0.5)]
    forward = torch.autograd.forward_ad

    def dual(f):
        def run():
            with torch.no_grad(), forward.dual_level():
                y = f(*[forward.make_dual(v, d) for v, d in zip(x, dx)])
                both = [forward.unpack_dual(v) for v in y]
            return [v.primal for v in both] + [v.tangent for v in both]
        return run

    def functional():
        y, dy = functorch.jvp(three, tuple(x), tuple(dx))
        return list(y) + list(dy)
    return Call({"forward_ad": dual(three), "functorch.jvp": functional})


def cotangents():
    x, seeds = [torch.tensor(2.0), torch.tensor(3.0)], [torch.tensor(s) for s in (1.0, 2.0, 3.0)]

    def reverse(f):
        def run():
            at = [v.detach().requires_grad_() for v in x]
            y = f(*at)
            return [v.detach() for v in y] + list(torch.autograd.grad(y, at, seeds))
        return run
    compiled = torch.jit.trace(three, tuple(v.clone().requires_grad_() for v in x), check_trace=False)
    return Call({"autograd.grad": reverse(three), "jit.trace, autograd.grad": reverse(compiled)})


def big_network():
    x, start = fill(31, 128, 784), layers(784, 512, 512, 10)
    target = torch.from_numpy(np.arange(128)*7 % 10)

    def loss(p):
        h = torch.relu(torch.addmm(p[1], x, p[0]))
        h = torch.relu(torch.addmm(p[3], h, p[2]))
        return F.cross_entropy(torch.addmm(p[5], h, p[4]), target)

    def linear(p):
        """Weights (out, in), as torch.nn.Linear keeps them."""
        h = torch.relu(F.linear(x, p[0], p[1]))
        h = torch.relu(F.linear(h, p[2], p[3]))
        return F.cross_entropy(F.linear(h, p[4], p[5]), target)
    turned = [w.t().contiguous() if w.dim() == 2 else w for w in start]
    ways = adam_ways(loss, trace(loss, start), 1e-3)
    others = adam_ways(linear, trace(linear, turned), 1e-3)
    ways.update({"linear, " + name: way for name, way in others.items()})
    return Big(start, turned, ways)


class Big(Learner):
    """The ways called linear keep weights as (out, in); results are (in, out) in any case."""

    def __init__(self, start, turned, ways):
        super().__init__(start, ways)
        self.both = {False: start, True: turned}

    def reset(self, way):
        self.is_turned = way.startswith("linear")
        self.start = self.both[self.is_turned]
        super().reset(way)

    def result(self):
        return [w.t() if self.is_turned and w.dim() == 2 else w for w in self.p]


CASES = {f.__name__: f for f in (small_network, equation_network, learning_to_learn, soft_sort, rosenbrock,
                                 tangents, cotangents, big_network)}


# --- what learn.c asks -------------------------------------------------------------------------------------

class Entrant:
    def __init__(self, case):
        self.case, self.way = case, None

    def time(self, way, runs):
        self.case.reset(way)
        run = self.case.run
        for _ in range(WARM):
            run()
        start = time.process_time()
        for _ in range(runs):
            run()
        return time.process_time() - start

    def pick(self):
        best = {}
        for way in self.case.ways:
            try:
                self.time(way, 3)                      # compiles what is traced
                runs = max(5, int(0.03/max(self.time(way, 3)/3, 1e-6)))
                best[way] = min(self.time(way, runs)/runs for _ in range(5))
            except RuntimeError as error:              # a way that this version does not support
                print("learn_pytorch.py: %s: %s" % (way, str(error).split("\n")[0]), file=sys.stderr)
        self.way = min(best, key=best.get)
        return self.way


def main():
    entrants, answer = {}, sys.stdout.buffer
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "quit":
            break
        if rest[0] not in entrants:
            entrants[rest[0]] = Entrant(CASES[rest[0]]())
        e = entrants[rest[0]]
        if word == "pick":
            answer.write((e.pick() + "\n").encode())
        elif word == "result":
            e.time(e.way, int(rest[1]) - WARM)
            for v in e.case.result():
                answer.write(v.detach().float().contiguous().numpy().tobytes())
        else:
            answer.write(("%.9g\n" % e.time(e.way, int(rest[1]))).encode())
        answer.flush()


if __name__ == "__main__":
    main()
