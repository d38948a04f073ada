"""pytorch.py -- PyTorch: the objectives as operations on whole tensors, in double precision, gradients by
backward().

The Jacobian of ba is two backward passes over all observations at once, for no observation's errors depend on
another's inputs; that of ht is one forward pass (dual tensors) a column. Newton's direction of kmeans is a
gradient and a Hessian-vector product.

Left out: det, particle, saddle. They are programs of single numbers, and an operation on a tensor of one
number costs microseconds.
"""
import json
import math
import os
import sys
import time

import torch
import torch.autograd.forward_ad as forward_ad
from torch.autograd.functional import vhp

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
torch.set_default_dtype(torch.float64)


class Problem:
    """An evaluation: leaves are the tensors to differentiate by, value() the objective of them."""

    def gradient(self):
        for leaf in self.leaves:
            leaf.grad = None
        self.value().backward()
        return [leaf.grad for leaf in self.leaves]


def leaf(numbers):
    return torch.tensor(numbers, requires_grad=True)


class Hello(Problem):
    def __init__(self, data):
        self.leaves = [leaf(data)]

    def value(self):
        return self.leaves[0] ** 2

    def show(self, gradient):
        return gradient[0].item()


class Llsq(Problem):
    def __init__(self, data):
        self.leaves = [leaf(data["x"])]
        t = torch.linspace(-1, 1, data["n"])
        self.powers, self.signs = t[:, None] ** torch.arange(len(data["x"])), torch.sign(t)

    def value(self):
        residual = self.signs - self.powers @ self.leaves[0]
        return residual @ residual / 2

    def show(self, gradient):
        return gradient[0].tolist()


class Lse(Problem):
    def __init__(self, data):
        self.leaves = [leaf(data["x"])]

    def value(self):
        x = self.leaves[0]
        most = x.max()
        return most + (x - most).exp().sum().log()

    show = Llsq.show


class Ode(Problem):
    def __init__(self, data):
        self.leaves, self.s = [leaf(data["x"])], data["s"]

    def solve(self):
        x, h = self.leaves[0], 2 / self.s
        one = torch.ones(1)

        def rate(y):
            return x * torch.cat((one, y[:-1]))

        y = torch.zeros(len(x))
        for _ in range(self.s):
            k1 = rate(y)
            k2 = rate(y + h / 2 * k1)
            k3 = rate(y + h / 2 * k2)
            k4 = rate(y + h * k3)
            y = y + h / 6 * (k1 + 2 * (k2 + k3) + k4)
        return y

    def value(self):
        return self.solve()[-1]

    show = Llsq.show


class Gmm(Problem):
    def __init__(self, data):
        self.d, self.k, self.n, self.m, self.gamma = (data[name] for name in ("d", "k", "n", "m", "gamma"))
        self.leaves = [leaf(data[name]) for name in ("alpha", "mu", "q", "l")]
        self.points = torch.tensor(data["x"])
        # l fills each strictly lower triangle column by column
        self.columns, self.rows = torch.triu_indices(self.d, self.d, 1)
        nu, d = self.d + self.m + 1, self.d
        log_gamma = d * (d - 1) / 4 * math.log(math.pi) + sum(math.lgamma((nu - j) / 2) for j in range(d))
        self.constant = (self.k * (nu * d * (math.log(self.gamma) - math.log(2) / 2) - log_gamma)
                         - self.n * d / 2 * math.log(2 * math.pi))

    def value(self):
        alpha, mu, q, l = self.leaves
        root = torch.diag_embed(q.exp())
        root[:, self.rows, self.columns] = l
        # Q_k (x_i - mu_k), k x n x d
        moved = (self.points[None] - mu[:, None]) @ root.transpose(1, 2)
        beta = (alpha + q.sum(1))[:, None] - moved.square().sum(2) / 2
        return (self.constant + torch.logsumexp(beta, 0).sum() - self.n * torch.logsumexp(alpha, 0)
                - self.gamma ** 2 / 2 * root.square().sum() + self.m * q.sum())

    def show(self, gradient):
        return {name: g.tolist() for name, g in zip(("alpha", "mu", "q", "l"), gradient)}


class Lstm(Problem):
    def __init__(self, data):
        self.layers, self.b = len(data["main_params"]) // 2, len(data["extra_params"][0])
        self.leaves = [leaf(data["main_params"]), leaf(data["extra_params"])]
        self.state, self.sequence = torch.tensor(data["state"]), torch.tensor(data["sequence"])

    def value(self):
        main, extra, b = self.leaves[0], self.leaves[1], self.b
        # weights and biases, layers x 4 gates x b
        weights, biases = main[0::2].view(-1, 4, b), main[1::2].view(-1, 4, b)
        hidden, cell = list(self.state[0::2]), list(self.state[1::2])
        inputs, outputs = self.sequence[:-1] * extra[0], []
        for below in inputs.unbind():
            for k in range(self.layers):
                # forget, in, out, change: of the input, the hidden state, the input, the hidden state
                gates = torch.stack((below, hidden[k], below, hidden[k])) * weights[k] + biases[k]
                forget, into, out = torch.sigmoid(gates[:3])
                cell[k] = cell[k] * forget + into * torch.tanh(gates[3])
                hidden[k] = below = out * torch.tanh(cell[k])
            outputs.append(below)
        p = torch.stack(outputs) * extra[1] + extra[2]
        normal = p - (2 + p.exp().sum(1, keepdim=True)).log()
        return -(self.sequence[1:] * normal).sum() / normal.numel()

    def show(self, gradient):
        return torch.cat([g.flatten() for g in gradient]).tolist()


class Kmeans(Problem):
    def __init__(self, data):
        self.points, self.leaves = torch.tensor(data["points"]), [leaf(data["centroids"])]

    def cost(self, centroids):
        distances = ((self.points ** 2).sum(1)[:, None] + (centroids ** 2).sum(1)[None]
                     - 2 * self.points @ centroids.T)
        return distances.min(1).values.sum()

    def value(self):
        return self.cost(self.leaves[0])

    def direction(self):
        centroids = self.leaves[0]
        hessian = vhp(self.cost, centroids.detach(), torch.ones_like(centroids))[1]
        return self.gradient()[0] / hessian


class Ba:
    def __init__(self, data):
        self.n, self.m, self.p = data["n"], data["m"], data["p"]
        which = torch.arange(self.p)
        self.camera, self.point = which % self.n, which % self.m
        self.cameras = torch.tensor(data["cam"]).repeat(self.n, 1)
        self.points = torch.tensor(data["x"]).repeat(self.m, 1)
        self.weights = torch.full((self.p, 1), data["w"])
        self.features = torch.tensor(data["feat"]).repeat(self.p, 1)

    def errors(self, x):
        """x: observations x (camera, point, weight)."""
        turn, centre, focus, shift = x[:, 0:3], x[:, 3:6], x[:, 6:7], x[:, 7:9]
        k1, k2, point, w = x[:, 9:10], x[:, 10:11], x[:, 11:14] - centre, x[:, 14:15]
        angle = turn.norm(dim=1, keepdim=True)
        axis, c, s = turn / angle, torch.cos(angle), torch.sin(angle)
        along = (axis * point).sum(1, keepdim=True) * (1 - c)
        seen = point * c + torch.cross(axis, point, dim=1) * s + axis * along
        plane = seen[:, :2] / seen[:, 2:]
        square = plane.square().sum(1, keepdim=True)
        return w * (plane * (1 + square * (k1 + k2 * square)) * focus + shift - self.features)

    def gathered(self):
        return torch.cat((self.cameras[self.camera], self.points[self.point], self.weights), 1)

    def objective(self):
        return self.errors(self.gathered()), 1 - self.weights ** 2

    def jacobian(self):
        x = self.gathered().requires_grad_()
        w = self.weights.clone().requires_grad_()
        error = self.errors(x)
        rows = [torch.autograd.grad(error[:, i].sum(), x, retain_graph=i == 0)[0] for i in range(2)]
        (1 - w ** 2).sum().backward()
        return torch.cat((torch.stack(rows, 1).flatten(), w.grad.flatten()))

    def show(self, output):
        error, weight = output
        return {"reproj_error": {"elements": error[0].tolist(), "repeated": self.p},
                "w_err": {"element": weight[0].item(), "repeated": self.p}}

    def show_jacobian(self, values):
        """The first 30 entries and the last, with their places."""
        columns, before = [], 11 * self.n
        for i in range(2):
            for _ in range(2):
                columns += [11 * (i % self.n) + j for j in range(11)] + [before + 3 * (i % self.m) + j
                                                                         for j in range(3)]
                columns.append(before + 3 * self.m + i)
        size = 3 * self.p + 1
        rows = [15 * i if i <= 2 * self.p else 30 * self.p + i - 2 * self.p for i in range(min(30, size))]
        return {"rows": rows + [31 * self.p], "cols": columns[:30] + [before + 3 * self.m + self.p - 1],
                "vals": values[:30].tolist() + [values[-1].item()]}


class Ht:
    def __init__(self, data):
        model = data["data"]["model"]
        self.parents, self.mirrored = model["parents"], model["is_mirrored"]
        self.base = torch.tensor(model["base_relatives"])
        self.inverse = torch.tensor(model["inverse_base_absolutes"])
        self.positions, self.weights = torch.tensor(model["base_positions"]), torch.tensor(model["weights"])
        self.triangles = torch.tensor(model["triangles"])
        self.which = torch.tensor(data["data"]["correspondences"])
        self.points = torch.tensor(data["data"]["points"])
        self.theta, self.us = torch.tensor(data["theta"]), torch.tensor(data["us"])
        # theta's places of bend and spread of the bones that bend: all but the last joint of each finger
        self.bent = [2 + 4 * finger + joint for finger in range(5) for joint in range(3)]
        self.bends = [6 + 4 * finger + (0, 2, 3)[joint] for finger in range(5) for joint in range(3)]
        self.spread = [2 + 4 * finger for finger in range(5)]
        self.spreads = [7 + 4 * finger for finger in range(5)]

    def turns(self, theta):
        """Rz(spread) Rx(bend) of every bone, bones x 4 x 4."""
        bend, spread = torch.zeros(2, len(self.parents)).unbind()
        bend = bend.index_put((torch.tensor(self.bent),), theta[self.bends])
        spread = spread.index_put((torch.tensor(self.spread),), theta[self.spreads])
        ca, sa, cb, sb = torch.cos(bend), torch.sin(bend), torch.cos(spread), torch.sin(spread)
        zero, one = torch.zeros_like(bend), torch.ones_like(bend)
        entries = (cb, -sb * ca, sb * sa, zero, sb, cb * ca, -cb * sa, zero, zero, sa, ca, zero, zero, zero,
                   zero, one)
        return torch.stack(entries, 1).view(-1, 4, 4)

    def errors(self, theta, us):
        relative, absolute = self.base @ self.turns(theta), []
        for bone, parent in enumerate(self.parents):
            absolute.append(relative[bone] if parent < 0 else absolute[parent] @ relative[bone])
        carried = torch.stack(absolute) @ self.inverse
        # sum over bones of weight times (bone's transformation times vertex)
        skin = torch.einsum("vb,bij,vj->vi", self.weights, carried[:, :3], self.positions)
        if self.mirrored:
            skin = skin * torch.tensor([-1.0, 1, 1])
        vertices = skin @ self.rotation(theta[:3]).T + theta[3:6]
        if len(us) == 0:
            return self.points - vertices[self.which]
        corners = vertices[self.triangles[self.which]]
        shares = torch.cat((us, 1 - us.sum(1, keepdim=True)), 1)
        return self.points - (shares[:, :, None] * corners).sum(1)

    @staticmethod
    def rotation(r):
        angle = r.norm()
        if angle < 1e-4:
            return torch.eye(3)
        a, zero = r / angle, torch.zeros_like(angle)
        skew = torch.stack((zero, -a[2], a[1], a[2], zero, -a[0], -a[1], a[0], zero)).view(3, 3)
        return torch.cos(angle) * torch.eye(3) + torch.sin(angle) * skew + (1
                - torch.cos(angle)) * torch.outer(a, a)

    def objective(self):
        return self.errors(self.theta, self.us)

    def jacobian(self):
        columns, extra = [], 2 if len(self.us) else 0
        for j in range(len(self.theta) + extra):
            theta, us = torch.zeros_like(self.theta), torch.zeros_like(self.us)
            if j < extra:
                us[:, j] = 1
            else:
                theta[j - extra] = 1
            with forward_ad.dual_level():
                dual = [forward_ad.make_dual(self.theta, theta), forward_ad.make_dual(self.us, us)
                        if extra else self.us]
                columns.append(forward_ad.unpack_dual(self.errors(*dual)).tangent.flatten())
        return torch.stack(columns, 1)


def scalar(make, value_name, gradient_name, value=lambda p: p.value()):
    return {value_name: (make, value, lambda p, y: y.tolist()),
            gradient_name: (make, lambda p: p.gradient(), lambda p, g: p.show(g))}


def plain(p, y):
    return y.tolist()


# module: function: (what makes the problem, what is timed, what shows its result)
MODULES = {
    "hello": scalar(Hello, "square", "double"),
    "llsq": scalar(Llsq, "primal", "gradient"),
    "lse": scalar(Lse, "primal", "gradient"),
    "ode": scalar(Ode, "primal", "gradient", lambda p: p.solve()),
    "gmm": scalar(Gmm, "objective", "jacobian"),
    "lstm": scalar(Lstm, "objective", "jacobian"),
    "kmeans": {"cost": (Kmeans, lambda p: p.value(), plain), "dir": (Kmeans, lambda p: p.direction(), plain)},
    "ba": {"objective": (Ba, lambda p: p.objective(), lambda p, y: p.show(y)),
           "jacobian": (Ba, lambda p: p.jacobian(), lambda p, y: p.show_jacobian(y))},
    "ht": {"objective": (Ht, lambda p: p.objective(), lambda p, y: y.flatten().tolist()),
           "jacobian": (Ht, lambda p: p.jacobian(), plain)},
}


def evaluate(message):
    functions = MODULES.get(message["module"], {})
    if message["function"] not in functions:
        return {"success": False, "error": "unknown function"}
    make, run, show = functions[message["function"]]
    data = message["input"]
    start = time.perf_counter_ns()
    problem = make(data)
    timings = [{"name": "prepare", "nanoseconds": time.perf_counter_ns() - start}]
    runs, seconds = (data.get("min_runs", 1), data.get("min_seconds", 0)) if isinstance(data, dict) else (1,
            0)
    spent = 0
    while len(timings) <= max(runs, 1) or spent < seconds * 1e9:
        start = time.perf_counter_ns()
        output = run(problem)
        timings.append({"name": "evaluate", "nanoseconds": time.perf_counter_ns() - start})
        spent += timings[-1]["nanoseconds"]
    return {"success": True, "output": show(problem, output), "timings": timings}


def answer(message):
    if message.get("kind") == "start":
        return {"tool": "pytorch"}
    if message.get("kind") == "define":
        return {"success": message["module"] in MODULES}
    return evaluate(message) if message.get("kind") == "evaluate" else {}


def main():
    for line in sys.stdin:
        message = {}
        try:
            message = json.loads(line)
            response = answer(message)
        except Exception as failure:  # whatever it was, the protocol wants an answer
            response = {"success": False, "error": f"{type(failure).__name__}: {failure}"}
        if isinstance(message, dict) and "id" in message:
            response["id"] = message["id"]
        print(json.dumps(response), flush=True)


if __name__ == "__main__":
    main()
