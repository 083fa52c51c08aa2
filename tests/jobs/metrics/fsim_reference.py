"""FSIM and FSIMc in plain numpy, written line by line from the published definition.

It shares no code with `wconv_jobs.metrics` and takes no shortcut: loops over scales and
orientations, full convolutions, the noise estimate as a sum over pairs of filters.

Zhang, Zhang, Mou and Zhang 2011, doi:10.1109/TIP.2011.2109730; Kovesi's phasecong2.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def fsim(output: Array, target: Array) -> tuple[float, float]:
    """Return (FSIM, FSIMc) of two images in [0, 1].

    Args:
        output: shape (H, W) or (H, W, 3).
        target: the same shape.

    Returns:
        FSIMc is NaN for gray images.
    """
    y1, i1, q1 = (_downsampled(channel) for channel in _yiq(output))
    y2, i2, q2 = (_downsampled(channel) for channel in _yiq(target))
    pc1, pc2 = phase_congruency(y1), phase_congruency(y2)
    g1, g2 = _gradient_magnitude(y1), _gradient_magnitude(y2)

    s_pc = (2 * pc1 * pc2 + 0.85) / (pc1**2 + pc2**2 + 0.85)
    s_g = (2 * g1 * g2 + 160) / (g1**2 + g2**2 + 160)
    pc_max = np.maximum(pc1, pc2)
    fsim_value = np.sum(s_g * s_pc * pc_max) / np.sum(pc_max)
    if output.ndim == 2:
        return float(fsim_value), float("nan")

    s_i = (2 * i1 * i2 + 200) / (i1**2 + i2**2 + 200)
    s_q = (2 * q1 * q2 + 200) / (q1**2 + q2**2 + 200)
    s_c = np.real((s_i * s_q).astype(np.complex128) ** 0.03)
    return float(fsim_value), float(np.sum(s_g * s_pc * s_c * pc_max) / np.sum(pc_max))


def phase_congruency(image: Array) -> Array:
    """Return phase congruency of a gray image with values from 0 to 255, shape (H, W)."""
    rows, cols = image.shape
    x = np.empty((rows, cols))
    y = np.empty((rows, cols))
    x[:] = _centered_range(cols)[None, :]
    y[:] = _centered_range(rows)[:, None]
    radius_centered = np.hypot(x, y)
    low_pass = np.fft.ifftshift(1.0 / (1.0 + (radius_centered / 0.45) ** 30))
    radius = np.fft.ifftshift(radius_centered)
    theta = np.fft.ifftshift(np.arctan2(-y, x))
    radius[0, 0] = 1.0
    sin_theta, cos_theta = np.sin(theta), np.cos(theta)
    image_fft = np.fft.fft2(image)

    energy_all = np.zeros((rows, cols))
    an_all = np.zeros((rows, cols))
    for o in range(4):
        angle = o * np.pi / 4
        ds = sin_theta * np.cos(angle) - cos_theta * np.sin(angle)
        dc = cos_theta * np.cos(angle) + sin_theta * np.sin(angle)
        spread = np.exp(-(np.arctan2(ds, dc) ** 2) / (2 * (np.pi / 4 / 1.2) ** 2))
        responses = []
        filters_in_space = []
        em_n = 0.0
        for s in range(4):
            f0 = 1.0 / (6 * 2**s)
            log_gabor = np.exp(-(np.log(radius / f0) ** 2) / (2 * np.log(0.55) ** 2)) * low_pass
            log_gabor[0, 0] = 0.0
            this_filter = log_gabor * spread
            filters_in_space.append(np.real(np.fft.ifft2(this_filter)) * np.sqrt(rows * cols))
            responses.append(np.fft.ifft2(image_fft * this_filter))
            if s == 0:
                em_n = float(np.sum(this_filter**2))

        sum_e = sum((np.real(response) for response in responses), np.zeros((rows, cols)))
        sum_o = sum((np.imag(response) for response in responses), np.zeros((rows, cols)))
        x_energy = np.sqrt(sum_e**2 + sum_o**2) + 1e-4
        mean_e, mean_o = sum_e / x_energy, sum_o / x_energy
        energy = np.zeros((rows, cols))
        for response in responses:
            e, odd = np.real(response), np.imag(response)
            energy += e * mean_e + odd * mean_o - np.abs(e * mean_o - odd * mean_e)
            an_all += np.abs(response)

        noise_power = -np.median(np.abs(responses[0]) ** 2) / np.log(0.5) / em_n
        sum_an2 = sum(float(np.sum(each**2)) for each in filters_in_space)
        sum_ai_aj = 0.0
        for si in range(3):
            for sj in range(si + 1, 4):
                sum_ai_aj += float(np.sum(filters_in_space[si] * filters_in_space[sj]))
        noise_energy2 = 2 * noise_power * sum_an2 + 4 * noise_power * sum_ai_aj
        tau = np.sqrt(noise_energy2 / 2)
        threshold = tau * np.sqrt(np.pi / 2) + 2.0 * np.sqrt((2 - np.pi / 2) * tau**2)
        energy_all += np.maximum(energy - threshold / 1.7, 0)
    congruency: Array = energy_all / an_all
    return congruency


def conv2_same(image: Array, kernel: Array) -> Array:
    """Return what MATLAB's conv2(image, kernel, 'same') does: the middle of the full convolution.

    Of an even surplus, both sides lose the same; of an odd one, the side of index 0 loses more.
    """
    rows, cols = image.shape
    k_rows, k_cols = kernel.shape
    full = np.zeros((rows + k_rows - 1, cols + k_cols - 1))
    for i in range(k_rows):
        for j in range(k_cols):
            full[i : i + rows, j : j + cols] += kernel[i, j] * image
    top, left = -(-(k_rows - 1) // 2), -(-(k_cols - 1) // 2)
    return full[top : top + rows, left : left + cols]


def _yiq(image: Array) -> tuple[Array, Array, Array]:
    if image.ndim == 2:
        return image * 255, image * 0, image * 0
    r, g, b = (image[:, :, c] * 255 for c in range(3))
    return (
        0.299 * r + 0.587 * g + 0.114 * b,
        0.596 * r - 0.274 * g - 0.322 * b,
        0.211 * r - 0.523 * g + 0.312 * b,
    )


def _downsampled(channel: Array) -> Array:
    # MATLAB rounds halves away from zero, numpy to even.
    factor = max(1, int(np.floor(min(channel.shape) / 256 + 0.5)))
    return conv2_same(channel, np.full((factor, factor), 1 / factor**2))[::factor, ::factor]


def _gradient_magnitude(image: Array) -> Array:
    dx = np.array([[3.0, 0.0, -3.0], [10.0, 0.0, -10.0], [3.0, 0.0, -3.0]]) / 16
    gradient: Array = np.sqrt(conv2_same(image, dx) ** 2 + conv2_same(image, dx.T) ** 2)
    return gradient


def _centered_range(n: int) -> Array:
    if n % 2:
        return np.arange(-(n - 1) // 2, (n - 1) // 2 + 1) / (n - 1)
    return np.arange(-n // 2, n // 2) / n
