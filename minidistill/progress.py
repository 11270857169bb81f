"""Progress on long work, on standard error: a tqdm bar if tqdm is installed, else a line an epoch."""

import sys
from typing import Any


class Progress:
    """A context: advance() after every step, epoch(...) after every epoch; silent if not wanted."""

    def __init__(self, title: str, total: int, wanted: bool) -> None:
        self.title, self.wanted = title, wanted
        self.bar: Any = None
        if wanted:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=total, desc=title, unit="step", file=sys.stderr, mininterval=0.5, leave=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self) -> None:
        if self.bar is not None:
            self.bar.update()

    def epoch(self, epoch: int, epochs: int, loss: list[float], errors: list[int]) -> None:
        """Show the means over replicas of the epoch's loss and, if there is a validation set, of its errors."""
        if not self.wanted:
            return
        text = f"epoch {epoch}/{epochs}, loss {sum(loss) / len(loss):.4g}"
        if errors:
            text += f", errors {sum(errors) / len(errors):.1f}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
        else:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)
