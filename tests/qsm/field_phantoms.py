"""Analytic fields for the tests of background removal and inversion."""

import numpy as np

OBLIQUE = (0.36, -0.48, 0.8)


def coordinates(shape, voxel_size):
    """Positions in mm from the centre of the volume."""
    axes = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, voxel_size, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def ellipsoid(shape, voxel_size, semiaxes, centre=(0, 0, 0)):
    position = coordinates(shape, voxel_size)
    return sum(((p - c) / a) ** 2 for p, c, a in zip(position, centre, semiaxes, strict=True)) < 1


def sphere_field(shape, voxel_size, b0_direction, centre, radius, chi):
    """Field of a sphere in closed form, ppm (with the Lorentz sphere: zero inside)."""
    x, y, z = (p - c for p, c in zip(coordinates(shape, voxel_size), centre, strict=True))
    squared = x**2 + y**2 + z**2
    along = x * b0_direction[0] + y * b0_direction[1] + z * b0_direction[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = chi / 3 * radius**3 * (3 * along**2 / squared - 1) / squared**1.5
    return np.where(squared > radius**2, outside, 0).astype(np.float32)


def head(voxel_size=(2.0, 2.0, 2.0), b0_direction=(0.0, 0.0, 1.0), shape=(40, 44, 36)):
    """Mask, background and local field: a ragged ellipsoid, air-like spheres beside it, two spheres in it."""
    size = [n * h for n, h in zip(shape, voxel_size, strict=True)]
    mask = ellipsoid(shape, voxel_size, [0.36 * s for s in size])
    mask &= ~ellipsoid(shape, voxel_size, (7, 7, 7), (0, 0.36 * size[1], -4))
    args = shape, voxel_size, b0_direction
    background = sphere_field(*args, (0, 0.5 * size[1], 0), 8, 9.4)
    background += sphere_field(*args, (0.48 * size[0], 0, -0.2 * size[2]), 7, -2.0)
    x, y, z = coordinates(shape, voxel_size)
    background += (0.002 * x - 0.001 * y + 2e-5 * (x * y - z * x)).astype(np.float32)
    local = sphere_field(*args, (6, -4, 2), 6.0, 0.2) + sphere_field(*args, (-8, 2, -4), 5.0, -0.1)
    return mask, background, local
