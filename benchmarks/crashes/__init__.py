"""What a crash leaves behind, and whether anything that was reported is lost.

    python -m benchmarks.crashes [--kills 500] [--cuts 40] [--disks 40] [--calls] [--seed 1]

kills:  real `clipindex` processes die by SIGKILL at random moments, some again and again. Nine in
        ten are forked from one that has imported everything; the others do that themselves.
cuts:   the store lies on an ext4 image that is copied while the process writes, and mounted as
        after a reboot: what was not flushed is not in it. Needs root on Linux.
disks:  the disk fills up (tmpfs, ext4), or a limit on the size of files strikes (RLIMIT_FSIZE).
calls:  the n-th call of the engine, of SQLite or of the file system fails, before its work or
        after it, or the process is killed there, n = 1, 2, ... until none is left to fail.

After each, every point that a `batch` line reported must be there, unchanged; nothing may be
half written; and the same command, undisturbed, must end where it ends when nothing happens. A
backup, a restored collection and a compacted one are the old or the new, in whole.
"""
