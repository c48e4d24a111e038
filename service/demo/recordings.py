"""The recordings of the demo: the same tone for each recorded call, as a WAV file named by its local tag."""

import struct
from collections.abc import Iterable
from pathlib import Path

FORMAT = "wav"
RATE, PITCH = 8000, 400  # Samples of one byte per second, and frequency in Hz.
TONE = bytes([160] * (RATE // PITCH // 2) + [96] * (RATE // PITCH // 2)) * PITCH  # One second.


def make(folder: Path, local_tags: Iterable[str]) -> None:
    """Creates missing files, which are hard links to one file."""
    folder.mkdir(parents=True, exist_ok=True)
    tone = folder / "tone"
    tone.write_bytes(_wav(TONE))
    for tag in local_tags:
        file = folder / f"{tag}.{FORMAT}"
        if not file.exists():
            file.hardlink_to(tone)


def _wav(samples: bytes) -> bytes:
    """A WAV file with one 8-bit channel."""
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(layout) + len(data), b"WAVE") + layout + data
