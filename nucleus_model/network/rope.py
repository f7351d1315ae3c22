"""Rotary positions (Su et al. 2021, arXiv:2104.09864) in three axes: frame, height, width.

Pairs of neighbouring values of a head are rotated; each axis has a contiguous range of them.

Legend of shapes: B batch, S positions of image or text, L text tokens, N heads, R width of a head,
F = R / 2, H W rows and columns of tokens.

Image positions are centred: a side of n tokens has the positions -(n - n // 2) to n // 2 - 1. Text
positions begin where the image ends, at max(height // 2, width // 2), and increase by one per token
on all three axes. So text keys depend on the image's grid, and padding must not precede the text.
"""

import torch

THETA = 10_000.0


def image_positions(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Returns the positions (S, 3) of a grid of tokens, row by row."""
    rows_H = torch.arange(height, device=device) - (height - height // 2)
    columns_W = torch.arange(width, device=device) - (width - width // 2)
    grid_HW = torch.meshgrid(rows_H, columns_W, indexing="ij")
    frame_HW = torch.zeros_like(grid_HW[0])
    return torch.stack((frame_HW, *grid_HW), dim=-1).flatten(0, 1)


def text_positions(height: int, width: int, length: int, device: torch.device) -> torch.Tensor:
    """Returns the positions (L, 3) of the text that belongs to a grid of image tokens."""
    start = text_start(height, width)
    return torch.arange(start, start + length, device=device)[:, None].expand(-1, 3)


def text_start(height: int, width: int) -> int:
    """Returns the position of the first text token, the same on every axis."""
    return max(height // 2, width // 2)


def rotations(positions_S3: torch.Tensor, axes: tuple[int, int, int]) -> torch.Tensor:
    """Returns the rotation of each pair of a head's values: complex64 (S, F), of magnitude 1.

    Args:
        positions_S3: Positions on the three axes.
        axes: Number of a head's values that rotate with each axis; they sum to R.
    """
    angles = []
    for axis, dim in enumerate(axes):
        exponents = torch.arange(0, dim, 2, device=positions_S3.device).float() / dim
        angles.append(torch.outer(positions_S3[:, axis].float(), 1.0 / torch.pow(THETA, exponents)))
    angles_SF = torch.cat(angles, dim=1)
    return torch.polar(torch.ones_like(angles_SF), angles_SF)


def rotate(x_BSNR: torch.Tensor, rotations_SF: torch.Tensor) -> torch.Tensor:
    """Rotates each pair of values of each head, in float32; shape and type stay."""
    pairs_BSNF = torch.view_as_complex(x_BSNR.float().unflatten(-1, (-1, 2)))
    turned_BSNF = pairs_BSNF * rotations_SF[:, None]
    return torch.view_as_real(turned_BSNF).flatten(-2).type_as(x_BSNR)
