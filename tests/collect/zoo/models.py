"""The network that every job of the zoo trains, in sizes that divide evenly by 2 and 4, and its number of parameters on paper."""

import torch
from torch import nn

WIDTH, LENGTH, BLOCKS, CLASSES = 32, 8, 4, 16
BLOCK_PARAMETERS = 2 * WIDTH + (4 * WIDTH * WIDTH + 4 * WIDTH) + (4 * WIDTH * WIDTH + WIDTH)
"""A norm, a linear layer to 4 x the width and one back, each with its bias."""
END_PARAMETERS = 2 * WIDTH + (WIDTH * CLASSES + CLASSES)
PARAMETERS = BLOCKS * BLOCK_PARAMETERS + END_PARAMETERS
TENSORS = BLOCKS * 6 + 4
FLOAT = 4


class Block(nn.Module):
    """A residual block of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))


class Net(nn.Module):
    """Blocks, a norm and a linear layer at the end; or, for a stage of a pipeline, some blocks and perhaps the end."""

    def __init__(self, blocks: int = BLOCKS, *, has_end: bool = True) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block() for _ in range(blocks)])
        self.norm = nn.LayerNorm(WIDTH) if has_end else None
        self.head = nn.Linear(WIDTH, CLASSES) if has_end else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)) if self.norm is not None and self.head is not None else x


class Images(nn.Module):
    """Two convolutions with a batch normalization each."""

    CHANNELS = (8, 12)

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        first, second = self.CHANNELS
        self.net = nn.Sequential(
            nn.Conv2d(3, first, 3), norm(first), nn.ReLU(), nn.Conv2d(first, second, 3), norm(second), nn.ReLU()
        )
        self.head = nn.Linear(second, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.net(x).mean((2, 3)))

    @classmethod
    def parameters_on_paper(cls) -> int:
        """Weights and biases of both convolutions, both norms and the end."""
        first, second = cls.CHANNELS
        return (3 * 9 * first + first) + (first * 9 * second + second) + 2 * (first + second) + (second + 1) * CLASSES
