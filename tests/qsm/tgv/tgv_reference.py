"""The same problem as sparse matrices, written independently, and a plain primal-dual iteration in double
precision."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.sparse as sp

from qsmxt_app.qsm.tgv.problem import MIXED_GAIN


class ReferenceProblem:
    """min sum W phi^2 / 2 + a1 |G chi - w| + a0 |E w| + cap |e|
    such that Lap phi - Wave chi + data + e = 0 in the mask.

    `slack` caps the outermost layers, as the product's does; e is zero elsewhere.
    """

    def __init__(self, data, mask, weight, *, voxel_size, b0_direction, alpha, rim_alpha, slack=()):
        near = scipy.ndimage.generate_binary_structure(3, 2)
        padded = np.pad(mask, 2)
        domain = scipy.ndimage.binary_dilation(padded, near)
        self.index = np.full(domain.shape, -1)
        self.index[domain] = np.arange(domain.sum())
        self.n = int(domain.sum())
        self.voxels = np.argwhere(domain)
        self.inside = padded[domain]
        self.data = np.pad(data, 2)[domain].astype(float)
        self.weight = np.pad(weight, 2, constant_values=weight.min())[domain].astype(float)
        depth = scipy.ndimage.distance_transform_edt(padded)[domain]
        self.cap = np.full(self.n, np.inf)
        for layer, price in enumerate(slack, 1):
            self.cap[(depth >= layer) & (depth < layer + 1)] = price
        h = np.asarray(voxel_size, float)
        b = np.asarray(b0_direction, float) / np.linalg.norm(b0_direction)
        second = {(i, i): self._second(i) / h[i] ** 2 for i in range(3)}
        second |= {(i, j): self._mixed(i, j) / (4 * h[i] * h[j]) for i, j in ((0, 1), (0, 2), (1, 2))}
        rows = sp.diags(self.inside.astype(float))
        laplacian = sum(second[i, i] for i in range(3))
        wave = laplacian / 3 - sum(b[i] ** 2 * second[i, i] for i in range(3))
        wave = wave - MIXED_GAIN * sum(2 * b[i] * b[j] * second[i, j] for i, j in ((0, 1), (0, 2), (1, 2)))
        self.lap, self.wave = (rows @ laplacian).tocsr(), (rows @ wave).tocsr()
        forward = [self._forward(i) for i in range(3)]
        self.edge = [f.getnnz(axis=1) == 2 for f in forward]
        self.grad = sp.vstack([f / h[i] for i, f in enumerate(forward)]).tocsr()
        self.sym = self._symmetrised(h)
        size = np.where(self.inside, 1.0, rim_alpha)
        self.a1, self.a0 = alpha[0] * size, alpha[1] * size

    def _neighbour(self, offset):
        return self.index[tuple((self.voxels + offset).T)]

    def _pick(self, pairs):
        """Matrix whose row v holds the coefficients of voxels at offsets from v; the row is empty where one
        is missing."""
        found = np.all([self._neighbour(o) >= 0 for o, _ in pairs], axis=0)
        rows, columns, values = [], [], []
        for offset, value in pairs:
            there = self._neighbour(offset)[found]
            rows.append(np.flatnonzero(found))
            columns.append(there)
            values.append(np.full(there.size, value))
        return sp.csr_matrix(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (self.n, self.n)
        )

    def _second(self, i):
        e = np.eye(3, dtype=int)[i]
        return self._pick([(e, 1.0), (-e, 1.0), (0 * e, -2.0)])

    def _mixed(self, i, j):
        e, f = np.eye(3, dtype=int)[[i, j]]
        return self._pick([(e + f, 1.0), (-e - f, 1.0), (e - f, -1.0), (f - e, -1.0)])

    def _forward(self, i):
        e = np.eye(3, dtype=int)[i]
        return self._pick([(e, 1.0), (0 * e, -1.0)])

    def _backward(self, i, j, h):
        """Backward difference along j of component i of w, where both edges exist."""
        e = np.eye(3, dtype=int)[j]
        back = self._pick([(0 * e, 1.0), (-e, -1.0)])
        exists = np.zeros(self.n, bool)
        there = self._neighbour(-e)
        exists[there >= 0] = self.edge[i][there[there >= 0]]
        return sp.diags((exists & self.edge[i]).astype(float)) @ back / h[j], exists & self.edge[i]

    def _symmetrised(self, h):
        none = sp.csr_matrix((self.n, self.n))
        blocks = []
        for i in range(3):
            line = [none] * 3
            line[i] = self._backward(i, i, h)[0]
            blocks.append(line)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            (first, one), (second, other) = self._backward(i, j, h), self._backward(j, i, h)
            both = sp.diags((one & other).astype(float))
            line = [none] * 3
            line[i], line[j] = both @ first / 2, both @ second / 2
            blocks.append(line)
        # a symmetric matrix holds its mixed entries twice: scaled so that the Euclidean norm is Frobenius'
        scale = np.repeat([1, 1, 1, np.sqrt(2), np.sqrt(2), np.sqrt(2)], self.n)
        return (sp.diags(scale) @ sp.bmat(blocks)).tocsr()

    def objective(self, chi, phi, w):
        p = (self.grad @ chi - w).reshape(3, -1)
        q = (self.sym @ w).reshape(6, -1)
        limited = np.isfinite(self.cap)
        total = np.sum(self.cap[limited] * np.abs(self.residual(chi, phi))[limited])
        total += 0.5 * np.sum(self.weight * phi**2)
        return (
            total + np.sum(self.a1 * np.linalg.norm(p, axis=0)) + np.sum(self.a0 * np.linalg.norm(q, axis=0))
        )

    def residual(self, chi, phi):
        return self.lap @ phi - self.wave @ chi + self.inside * self.data

    def violation(self, chi, phi):
        return np.linalg.norm(self.residual(chi, phi)[np.isinf(self.cap)]) / np.linalg.norm(
            self.data[self.inside]
        )

    def without_affine(self, chi):
        """Constant and linear chi cost and explain nothing: no solver can agree with another on them."""
        affine = np.c_[np.ones(self.n), self.voxels]
        return chi - affine @ np.linalg.lstsq(affine, chi, rcond=None)[0]

    def solve(self, iterations):
        """Chambolle & Pock (2011) with the diagonal steps of Pock & Chambolle (2011), balanced by hand."""
        n = self.n
        zero = sp.csr_matrix((n, n))
        edges = sp.diags(np.concatenate(self.edge).astype(float))
        empty = sp.csr_matrix((3 * n, n))
        k = sp.bmat(
            [
                [self.lap, -self.wave, sp.hstack([zero] * 3)],
                [empty, self.grad, -edges],
                [sp.csr_matrix((6 * n, n)), sp.csr_matrix((6 * n, n)), self.sym],
            ]
        ).tocsr()
        balance = 30.0
        tau = balance / np.maximum(np.asarray(abs(k).sum(0)).ravel(), 1e-12)
        sigma = 1 / balance / np.maximum(np.asarray(abs(k).sum(1)).ravel(), 1e-12)
        # one step for all components of a vector: its projection is Euclidean
        for components in (sigma[n : 4 * n].reshape(3, n), sigma[4 * n :].reshape(6, n)):
            components[:] = components.min(axis=0)
        x, y = np.zeros(5 * n), np.zeros(10 * n)
        kt = k.T.tocsr()
        for _ in range(iterations):
            new = x - tau * (kt @ y)
            new[:n] /= 1 + tau[:n] * self.weight
            z = y + sigma * (k @ (2 * new - x))
            x = new
            z[:n] += sigma[:n] * self.inside * self.data
            z[:n] = np.clip(z[:n], -self.cap, self.cap)
            for block, a in ((z[n : 4 * n].reshape(3, n), self.a1), (z[4 * n :].reshape(6, n), self.a0)):
                block[:] = block * (a / np.maximum(a, np.linalg.norm(block, axis=0)))
            y = z
        return x[n : 2 * n], x[:n], x[2 * n :]
