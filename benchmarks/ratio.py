"""What a benchmark found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """Medians over interleaved rounds, and the median of the rounds' ratios."""

    name: str
    ours: float
    baseline: float
    ratio: float
    rounds: tuple[float, ...]
    unit: str = "/s"

    def __str__(self) -> str:
        """A line of the report."""
        rounds = ", ".join(f"{ratio:.2f}" for ratio in self.rounds)
        return (
            f"{self.name:<48} {self.ratio:5.2f}   ({self.ours:,.0f}{self.unit} against"
            f" {self.baseline:,.0f}{self.unit}; rounds {rounds})"
        )
