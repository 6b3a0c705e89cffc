# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: PLR0915
"""One primal-dual iteration as a single in-place sweep over slabs.

A row's primal variables are updated and then the dual ones of the row that lies one slab and one row behind,
whose last need of old primal values has passed. The extrapolated primal values live in a ring of five slabs
a thread and never in memory. The duals on the seams between threads are finished in a second, small loop. No
sum crosses voxels, so the result does not depend on the number of threads.

What lets the compiler use vector instructions alone: all arithmetic is float32, all indices are unsigned (a
signed one costs a branch for negative values), no two arrays overlap (:mod:`.compilation`), and rows hold
whole vectors (:mod:`.layout`).

A sweep reads some twenty arrays side by side, more than processors follow by themselves. So each row is asked
for two rows ahead of its use, and some of the arrays before each loop, that the requests do not queue: this
saved a third of the time of problems beyond the cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from qsmxt_app.qsm.tgv.compilation import DistinctArrays, prefetch
from qsmxt_app.qsm.tgv.layout import CACHE_LINE

MATHS = {"contract", "nsz", "arcp"}

# bits of the voxel flags: which duals exist
EQUATION, P_X, P_Y, P_Z = 1, 2, 4, 8
Q_XX, Q_YY, Q_ZZ, Q_XY, Q_XZ, Q_YZ = 16, 32, 64, 128, 256, 512
RIM = 1024

RING = 5
AHEAD = np.uint64(2)

NO_CAP = np.float32(1e30)
"""The cap of an equation without a sparse term."""

HELD = np.float32(1e11)
"""A weight from which on a voxel's noise and susceptibility are held at zero."""

# order of the flat state arrays (rows of the state)
(PHI, CHI, WX, WY, WZ, PX, PY, PZ, QXX, QYY, QZZ, QXY, QXZ, QYZ, ETA, RESIDUAL, WEIGHT, LAPLACIAN, CAP) = (
    range(19)
)
N_STATE = 19

# order of the coefficients
(
    C_LX, C_LY, C_LZ,  # Laplacian, 1/h^2
    C_WX, C_WY, C_WZ, C_WXY, C_WXZ, C_WYZ,  # wave operator
    C_GX, C_GY, C_GZ,  # gradient, 1/h
    C_TAU_PHI, C_TAU_CHI, C_TAU_W, C_SIGMA_ETA, C_SIGMA_P, C_SIGMA_Q,
    C_ALPHA_1, C_ALPHA_0, C_RIM, C_RELAX,
) = range(22)  # fmt: skip
N_COEFFICIENTS = 22


@njit(forceinline=True)
def _has(flags, bit):
    """Whether a flag is set; in 32 bits, of which a vector holds as many as of floats."""
    return np.uint32(flags) & np.uint32(bit) != 0


@njit(forceinline=True)
def _fetch(array, i, j, base, start, stop):
    """Ask for a row of an array ahead of its use."""
    for k in range(base[i, j] + start[i, j], base[i, j] + stop[i, j], np.uint64(CACHE_LINE)):
        prefetch(array, k)  # type: ignore[call-arg]


@njit(fastmath=MATHS, error_model="numpy", forceinline=True, pipeline_class=DistinctArrays)
def _primal_row(i, j, base, start, stop, bar_base, oblique, c, phi, chi, wx, wy, wz, px, py, pz,
                qxx, qyy, qzz, qxy, qxz, qyz, eta, weight, bphi, bchi, bwx, bwy, bwz):  # fmt: skip
    """Descend in phi, chi and w of a row; leave the extrapolated values in the ring."""
    one = np.uint64(1)
    unit, none = np.float32(1), np.float32(0)
    lx, ly, lz = c[C_LX], c[C_LY], c[C_LZ]
    lc = -(lx + ly + lz + lx + ly + lz)
    vx, vy, vz = c[C_WX], c[C_WY], c[C_WZ]
    vc = -(vx + vy + vz + vx + vy + vz)
    vxy, vxz, vyz = c[C_WXY], c[C_WXZ], c[C_WYZ]
    gx, gy, gz = c[C_GX], c[C_GY], c[C_GZ]
    tau_phi, tau_chi, tau_w, rho = c[C_TAU_PHI], c[C_TAU_CHI], c[C_TAU_W], c[C_RELAX]
    lo = start[i, j]
    n = stop[i, j] - lo
    if stop[i, j] <= lo:
        return
    k0 = base[i, j] + lo
    xm, xp = base[i - one, j] + lo, base[i + one, j] + lo
    ym, yp = base[i, j - one] + lo, base[i, j + one] + lo
    b0 = bar_base[i, j] + lo
    ahead = min(j + AHEAD, np.uint64(base.shape[1] - 1))
    _fetch(eta, i + one, ahead, base, start, stop)
    _fetch(phi, i, ahead, base, start, stop)
    _fetch(chi, i, ahead, base, start, stop)
    _fetch(weight, i, ahead, base, start, stop)
    # The field equation is Lap(phi) - Wave(chi) + laplacian = 0 with the dual eta, and both operators are
    # symmetric. So the gradient for phi is Lap(eta), and that for chi is -Wave(eta) - div(p).
    # phi's weight spans orders of magnitude: its step is implicit (the proximal map of W phi^2 / 2), so that
    # tau need not shrink with it. The duals see the extrapolated value 2 new - old, without which the method
    # of Chambolle and Pock need not converge, and what is kept is relaxed by rho, as the duals are
    if oblique:
        mm, mp = base[i - one, j - one] + lo, base[i - one, j + one] + lo
        pm, pp = base[i + one, j - one] + lo, base[i + one, j + one] + lo
        for z in range(n):
            k = k0 + z
            e = eta[k]
            ex, ey, ez = eta[xm + z] + eta[xp + z], eta[ym + z] + eta[yp + z], eta[k - one] + eta[k + one]
            g = lc * e + lx * ex + ly * ey + lz * ez
            old = phi[k]
            new = (old - tau_phi * g) / (unit + tau_phi * weight[k])
            bphi[b0 + z] = new + new - old
            phi[k] = old + rho * (new - old)
            g = vc * e + vx * ex + vy * ey + vz * ez
            g += vxy * (eta[pp + z] - eta[pm + z] - eta[mp + z] + eta[mm + z])
            g += vxz * (eta[xp + z + one] - eta[xp + z - one] - eta[xm + z + one] + eta[xm + z - one])
            g += vyz * (eta[yp + z + one] - eta[yp + z - one] - eta[ym + z + one] + eta[ym + z - one])
            # the divergence of p by backward differences: minus the adjoint of the forward ones of chi
            g += gx * (px[k] - px[xm + z]) + gy * (py[k] - py[ym + z]) + gz * (pz[k] - pz[k - one])
            old = chi[k]
            new = old + (tau_chi * g if weight[k] < HELD else none)
            bchi[b0 + z] = new + new - old
            chi[k] = old + rho * (new - old)
    else:
        for z in range(n):
            k = k0 + z
            e = eta[k]
            ex, ey, ez = eta[xm + z] + eta[xp + z], eta[ym + z] + eta[yp + z], eta[k - one] + eta[k + one]
            g = lc * e + lx * ex + ly * ey + lz * ez
            old = phi[k]
            new = (old - tau_phi * g) / (unit + tau_phi * weight[k])
            bphi[b0 + z] = new + new - old
            phi[k] = old + rho * (new - old)
            g = vc * e + vx * ex + vy * ey + vz * ez
            g += gx * (px[k] - px[xm + z]) + gy * (py[k] - py[ym + z]) + gz * (pz[k] - pz[k - one])
            old = chi[k]
            new = old + (tau_chi * g if weight[k] < HELD else none)
            bchi[b0 + z] = new + new - old
            chi[k] = old + rho * (new - old)
    _fetch(px, i, ahead, base, start, stop)
    _fetch(py, i, ahead, base, start, stop)
    _fetch(pz, i, ahead, base, start, stop)
    _fetch(qxx, i + one, ahead, base, start, stop)
    # w lies where p does, half a voxel ahead. So its gradient takes backward differences, the divergence of q
    # forward ones: each is the other's negative transpose, without which the iteration need not converge
    for z in range(n):
        k = k0 + z
        xy, xz, yz = qxy[k], qxz[k], qyz[k]
        g = px[k] + gx * (qxx[xp + z] - qxx[k]) + gy * (qxy[yp + z] - xy) + gz * (qxz[k + one] - xz)
        old = wx[k]
        new = old + tau_w * g
        bwx[b0 + z] = new + new - old
        wx[k] = old + rho * (new - old)
        g = py[k] + gx * (qxy[xp + z] - xy) + gy * (qyy[yp + z] - qyy[k]) + gz * (qyz[k + one] - yz)
        old = wy[k]
        new = old + tau_w * g
        bwy[b0 + z] = new + new - old
        wy[k] = old + rho * (new - old)
        g = pz[k] + gx * (qxz[xp + z] - xz) + gy * (qyz[yp + z] - yz) + gz * (qzz[k + one] - qzz[k])
        old = wz[k]
        new = old + tau_w * g
        bwz[b0 + z] = new + new - old
        wz[k] = old + rho * (new - old)
    _fetch(qxy, i + one, ahead, base, start, stop)
    _fetch(qxz, i + one, ahead, base, start, stop)
    _fetch(wx, i, ahead, base, start, stop)
    _fetch(wy, i, ahead, base, start, stop)
    _fetch(wz, i, ahead, base, start, stop)


@njit(fastmath=MATHS, error_model="numpy", forceinline=True, pipeline_class=DistinctArrays)
def _dual_row(i, j, base, start, stop, bar_base, oblique, c, flags, px, py, pz, qxx, qyy, qzz, qxy, qxz, qyz,
              residual, laplacian, bphi, bchi, bwx, bwy, bwz):  # fmt: skip
    """Ascend in p and q of a row, and form the residual of its field equation."""
    one = np.uint64(1)
    unit, none, half, tiny = np.float32(1), np.float32(0), np.float32(0.5), np.float32(1e-30)
    lx, ly, lz = c[C_LX], c[C_LY], c[C_LZ]
    lc = -(lx + ly + lz + lx + ly + lz)
    vx, vy, vz = c[C_WX], c[C_WY], c[C_WZ]
    vc = -(vx + vy + vz + vx + vy + vz)
    vxy, vxz, vyz = c[C_WXY], c[C_WXZ], c[C_WYZ]
    gx, gy, gz = c[C_GX], c[C_GY], c[C_GZ]
    sigma_p, sigma_q, rho = c[C_SIGMA_P], c[C_SIGMA_Q], c[C_RELAX]
    alpha_1, alpha_0, rim = c[C_ALPHA_1], c[C_ALPHA_0], c[C_RIM]
    lo = start[i, j]
    n = stop[i, j] - lo
    if stop[i, j] <= lo:
        return
    k0 = base[i, j] + lo
    c0 = bar_base[i, j] + lo
    xm, xp = bar_base[i - one, j] + lo, bar_base[i + one, j] + lo
    ym, yp = bar_base[i, j - one] + lo, bar_base[i, j + one] + lo
    ahead = min(j + one + AHEAD, np.uint64(base.shape[1] - 1))
    if oblique:
        mm, mp = bar_base[i - one, j - one] + lo, bar_base[i - one, j + one] + lo
        pm, pp = bar_base[i + one, j - one] + lo, bar_base[i + one, j + one] + lo
        for z in range(n):
            k = c0 + z
            r = lc * bphi[k] + lx * (bphi[xm + z] + bphi[xp + z]) + ly * (bphi[ym + z] + bphi[yp + z])
            r += lz * (bphi[k - one] + bphi[k + one])
            r -= vc * bchi[k] + vx * (bchi[xm + z] + bchi[xp + z]) + vy * (bchi[ym + z] + bchi[yp + z])
            r -= vz * (bchi[k - one] + bchi[k + one])
            r -= vxy * (bchi[pp + z] - bchi[pm + z] - bchi[mp + z] + bchi[mm + z])
            r -= vxz * (bchi[xp + z + one] - bchi[xp + z - one] - bchi[xm + z + one] + bchi[xm + z - one])
            r -= vyz * (bchi[yp + z + one] - bchi[yp + z - one] - bchi[ym + z + one] + bchi[ym + z - one])
            residual[k0 + z] = r + laplacian[k0 + z] if _has(flags[k0 + z], EQUATION) else none
    else:
        for z in range(n):
            k = c0 + z
            r = lc * bphi[k] + lx * (bphi[xm + z] + bphi[xp + z]) + ly * (bphi[ym + z] + bphi[yp + z])
            r += lz * (bphi[k - one] + bphi[k + one])
            r -= vc * bchi[k] + vx * (bchi[xm + z] + bchi[xp + z]) + vy * (bchi[ym + z] + bchi[yp + z])
            r -= vz * (bchi[k - one] + bchi[k + one])
            residual[k0 + z] = r + laplacian[k0 + z] if _has(flags[k0 + z], EQUATION) else none
    _fetch(qyy, i + one, ahead, base, start, stop)
    _fetch(qzz, i + one, ahead, base, start, stop)
    _fetch(qyz, i + one, ahead, base, start, stop)
    # p is the dual of alpha1 |grad chi - w|: ascent along grad chi - w, then projection onto |p| <= alpha1
    for z in range(n):
        k = c0 + z
        m = flags[k0 + z]
        chi = bchi[k]
        ax, ay, az = px[k0 + z], py[k0 + z], pz[k0 + z]
        nx = ax + (sigma_p * (gx * (bchi[xp + z] - chi) - bwx[k]) if _has(m, P_X) else none)
        ny = ay + (sigma_p * (gy * (bchi[yp + z] - chi) - bwy[k]) if _has(m, P_Y) else none)
        nz = az + (sigma_p * (gz * (bchi[k + one] - chi) - bwz[k]) if _has(m, P_Z) else none)
        # project onto the ball and relax, in one: a + rho (projected - a)
        bound = alpha_1 * (rim if _has(m, RIM) else unit)
        scale = rho * bound / max(bound, np.sqrt(nx * nx + ny * ny + nz * nz + tiny))
        px[k0 + z] = ax + scale * nx - rho * ax
        py[k0 + z] = ay + scale * ny - rho * ay
        pz[k0 + z] = az + scale * nz - rho * az
    _fetch(residual, i, ahead, base, start, stop)
    _fetch(laplacian, i, ahead, base, start, stop)
    _fetch(flags, i, ahead, base, start, stop)
    # q is the dual of alpha0 |sym grad w|, a symmetric tensor of which six entries are kept
    for z in range(n):
        k = c0 + z
        m = flags[k0 + z]
        x, y, w = bwx[k], bwy[k], bwz[k]
        axx, ayy, azz = qxx[k0 + z], qyy[k0 + z], qzz[k0 + z]
        axy, axz, ayz = qxy[k0 + z], qxz[k0 + z], qyz[k0 + z]
        nxx = axx + (sigma_q * gx * (x - bwx[xm + z]) if _has(m, Q_XX) else none)
        nyy = ayy + (sigma_q * gy * (y - bwy[ym + z]) if _has(m, Q_YY) else none)
        nzz = azz + (sigma_q * gz * (w - bwz[k - one]) if _has(m, Q_ZZ) else none)
        nxy = axy + (
            half * sigma_q * (gy * (x - bwx[ym + z]) + gx * (y - bwy[xm + z])) if _has(m, Q_XY) else none
        )
        nxz = axz + (
            half * sigma_q * (gz * (x - bwx[k - one]) + gx * (w - bwz[xm + z])) if _has(m, Q_XZ) else none
        )
        nyz = ayz + (
            half * sigma_q * (gz * (y - bwy[k - one]) + gy * (w - bwz[ym + z])) if _has(m, Q_YZ) else none
        )
        # entries off the diagonal stand for two of the symmetric tensor
        square = nxy * nxy + nxz * nxz + nyz * nyz
        square += square + nxx * nxx + nyy * nyy + nzz * nzz
        bound = alpha_0 * (rim if _has(m, RIM) else unit)
        scale = rho * bound / max(bound, np.sqrt(square + tiny))
        qxx[k0 + z] = axx + scale * nxx - rho * axx
        qyy[k0 + z] = ayy + scale * nyy - rho * ayy
        qzz[k0 + z] = azz + scale * nzz - rho * azz
        qxy[k0 + z] = axy + scale * nxy - rho * axy
        qxz[k0 + z] = axz + scale * nxz - rho * axz
        qyz[k0 + z] = ayz + scale * nyz - rho * ayz


@njit(nogil=True, fastmath=MATHS, error_model="numpy", pipeline_class=DistinctArrays)
def _slabs(first, last, base, start, stop, bar_base, oblique, c, flags, phi, chi, wx, wy, wz, px, py, pz,
           qxx, qyy, qzz, qxy, qxz, qyz, residual, eta, weight, laplacian,
           bphi, bchi, bwx, bwy, bwz):  # fmt: skip
    """Sweep over one thread's slabs; the dual ones follow a slab and a row behind the primal ones."""
    one = np.uint64(1)
    rows = np.uint64(base.shape[1] - 1)
    for i in range(first, last):
        inner = i >= first + one + one
        for j in range(one, rows + one):
            if j < rows:
                _primal_row(i, j, base, start, stop, bar_base, oblique, c, phi, chi, wx, wy, wz, px, py, pz,
                            qxx, qyy, qzz, qxy, qxz, qyz, eta, weight, bphi, bchi, bwx, bwy, bwz)  # fmt: skip
            if inner and j > one:
                _dual_row(i - one, j - one, base, start, stop, bar_base, oblique, c, flags, px, py, pz,
                          qxx, qyy, qzz, qxy, qxz, qyz, residual, laplacian,
                          bphi, bchi, bwx, bwy, bwz)  # fmt: skip


@njit(nogil=True, fastmath=MATHS, error_model="numpy", pipeline_class=DistinctArrays)
def _seam(i, base, start, stop, bar_base, oblique, c, flags, px, py, pz, qxx, qyy, qzz, qxy, qxz, qyz,
          residual, laplacian, bphi, bchi, bwx, bwy, bwz):  # fmt: skip
    """Finish the duals of one slab between two threads."""
    one = np.uint64(1)
    for j in range(one, np.uint64(base.shape[1] - 1)):
        _dual_row(i, j, base, start, stop, bar_base, oblique, c, flags, px, py, pz, qxx, qyy, qzz,
                  qxy, qxz, qyz, residual, laplacian, bphi, bchi, bwx, bwy, bwz)  # fmt: skip


@njit(parallel=True, cache=True, nogil=True, fastmath=MATHS, error_model="numpy")
def sweep(seams, base, start, stop, bar_base, oblique, c, flags, phi, chi, wx, wy, wz, px, py, pz,
          qxx, qyy, qzz, qxy, qxz, qyz, residual, eta, weight, laplacian,
          bphi, bchi, bwx, bwy, bwz):  # fmt: skip
    """Update phi, chi, w, p, q in place; leave the residual of the field equation for the update of eta.

    Parameters
    ----------
    seams : ndarray (threads + 1,), uint64
        Thread t owns the slabs ``seams[t]`` to ``seams[t + 1] - 1``, at least four.
    bar_base : ndarray (x, y), uint64
        Positions of the rows in the rings.
    """
    one = np.uint64(1)
    threads = seams.size - 1
    for t in prange(threads):
        _slabs(seams[t], seams[t + 1], base, start, stop, bar_base, oblique, c, flags, phi, chi, wx, wy, wz,
               px, py, pz, qxx, qyy, qzz, qxy, qxz, qyz, residual, eta, weight, laplacian,
               bphi, bchi, bwx, bwy, bwz)  # fmt: skip
    for s in prange(2 * threads):
        i = seams[s // 2] if s % 2 == 0 else seams[s // 2 + 1] - one
        _seam(i, base, start, stop, bar_base, oblique, c, flags, px, py, pz, qxx, qyy, qzz,
              qxy, qxz, qyz, residual, laplacian, bphi, bchi, bwx, bwy, bwz)  # fmt: skip


@njit(parallel=True, cache=True, nogil=True, fastmath=MATHS)
def ascend(seams, base, start, stop, sigma, cap, residual, eta):
    """Ascend in the dual of the field equation, without preconditioner, up to its cap."""
    for t in prange(seams.size - 1):
        for i in range(seams[t], seams[t + 1]):
            for j in range(np.uint64(base.shape[1])):
                for z in range(base[i, j] + start[i, j], base[i, j] + stop[i, j]):
                    eta[z] = min(max(eta[z] + sigma * residual[z], -cap[z]), cap[z])
