"""What the processor can do, as far as it decides the speed and the last digits of a vector."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Instructions that a runtime chooses its kernels by, as Linux names them: x86, then ARM.
KNOWN = (
    *("sse4_1", "avx", "fma", "avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "bf16"),
)


@cache
def processor(cpu_info: Path = CPU_INFO) -> str:
    """Its kind and its instructions: `x86_64 avx2 fma`; where they cannot be read, the kind."""
    try:
        lines = cpu_info.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    pairs = (line.partition(":") for line in lines)
    named = next((text for name, _, text in pairs if name.strip() in ("flags", "Features")), "")
    instructions = named.split()
    return " ".join([platform.machine(), *(name for name in KNOWN if name in instructions)])
