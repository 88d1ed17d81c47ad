"""clipindex beside its peers, on one machine, in one run.

    python -m benchmarks.compare        pictures/s, CPU and memory, with the roofline and the floor
    python -m benchmarks.scale          many pictures, many unchanged files, many points

Both need a clone with `pip install '.[convert,openvino]' pillow-heif`; environments, weights and
pictures are made once and kept in a work folder.
"""

from clipindex.model.imports import disable_telemetry

disable_telemetry()  # of the peers too, which run as children
