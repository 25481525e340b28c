"""Print which GPU this rank takes, as a run on GPUs does; compute nothing."""

import os
import socket
import sys

from hpcq.parallel.world import open_farm
from hpcq.runs.rank_devices import _take_gpu

farm = open_farm()
_take_gpu(farm, "gpu")
shown = os.environ.get("CUDA_VISIBLE_DEVICES") or "-"
sys.stdout.write(f"gpu {farm.rank} {socket.gethostname()} {shown}\n")
