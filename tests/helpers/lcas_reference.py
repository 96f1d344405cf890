"""LCAS and its statistics in float64 from the equations, one patch at a time. Shares no code with the package."""

import math

import numpy as np

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def cut(image, size):
    """[H, W, 3] -> list of patches in row-major order, each a flat list in row, column, channel order."""
    height, width, _ = image.shape
    return [
        image[top : top + size, left : left + size].reshape(-1)
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]


def to_space(values, space, normalised_input):
    """A flat patch (channels fastest) into the pixel space: unit is [0, 1], imagenet is (x - mean) / std."""
    channel = np.arange(len(values)) % 3
    mean, std = np.array(MEAN)[channel], np.array(STD)[channel]
    if normalised_input:
        return values if space == "imagenet" else values * std + mean
    return values if space == "unit" else (values - mean) / std


def reference(image, reconstructions, visible, size, *, lambda_, space, stat, fidelity, floor=1e-3):
    """(s1, s2, s3), LCAS per run as a list of dictionaries by patch, and the map [N].

    image: uint8 [H, W, 3]. reconstructions: K arrays [N, P], normalised. visible: K lists.
    """
    patches = [to_space(p, space, False) for p in cut(image.astype(np.float64) / 255, size)]
    runs = []
    for reconstruction, seen in zip(reconstructions, visible, strict=True):
        means, deviations = [], []
        for i in seen:
            mean = sum(patches[i]) / len(patches[i])
            means.append(mean)
            deviations.append(math.sqrt(sum((patches[i] - mean) ** 2) / len(patches[i])))
        mu = sum(means) / len(means)
        sigma = max(sum(deviations) / len(deviations), floor)
        scores = {}
        for i in range(len(patches)):
            if i in set(map(int, seen)):
                continue
            hat = to_space(reconstruction[i].astype(np.float64), space, True)
            squares = ((hat - mu) / sigma) ** 2
            reduced = squares.mean() if stat == "mean" else squares.sum()
            error = (hat - patches[i]) ** 2
            distance = error.sum() if fidelity == "sum" else error.mean()
            scores[i] = 0.5 * reduced + 0.5 * math.log(sigma**2) + lambda_ * distance
        runs.append(scores)
    ranges = [max(scores.values()) - min(scores.values()) for scores in runs]
    run_means = [sum(scores.values()) / len(scores) for scores in runs]
    s1 = sum(ranges) / len(runs)
    everything = [value for scores in runs for value in scores.values()]
    s2 = sum(everything) / len(everything)
    s3 = sum(abs(mean - s2) for mean in run_means) / len(runs)
    lcas = np.full(len(patches), np.nan)
    for i in range(len(patches)):
        found = [scores[i] for scores in runs if i in scores]
        if found:
            lcas[i] = sum(found) / len(found)
    return (s1, s2, s3), run_means, lcas
