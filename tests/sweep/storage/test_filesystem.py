"""Network file systems are told from local ones by what the kernel says about mounts."""

from pathlib import Path

import pytest

from wconv_sweep.storage.filesystem import network_filesystem

MOUNTINFO = """\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw shared:2 - nfs4 server:/home rw,vers=4.2
31 22 0:41 / /leonardo/scratch rw shared:3 - lustre mds@tcp:/scratch rw,flock
32 30 0:42 / /home/me/fast\\040disk rw shared:4 - xfs /dev/nvme0n1 rw
33 22 0:43 / /mnt/cloud rw - fuse.sshfs me@host: rw
34 22 0:44 / /image rw - fuse.squashfuse_ll squashfuse_ll ro
35 22 0:45 / /twice rw - nfs server:/a rw
36 22 0:46 / /twice rw - tmpfs tmpfs rw
37 22 0:47 / /project rw - gpfs work rw
38 22 0:48 / /view rw,relatime - fuse /scratch/me rw,user_id=0,allow_other
39 22 0:49 / /other/view rw,relatime - fuse.bindfs /scratch/me rw,user_id=0
40 22 0:50 / /pool rw - fuse.mergerfs a:b rw
41 22 8:17 / /stick rw - fuseblk /dev/sdb1 rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/sweep.db", None),
        ("/home/me/runs/sweep.db", "nfs4"),
        ("/homely/sweep.db", None),
        ("/leonardo/scratch/me/sweep.db", "lustre"),
        ("/home/me/fast disk/sweep.db", None),
        ("/mnt/cloud/sweep.db", "fuse.sshfs"),
        ("/image/sweep.db", None),
        ("/twice/sweep.db", None),
        ("/project/me/sweep.db", "gpfs"),
        ("/view/sweep.db", "fuse"),
        ("/other/view/sweep.db", "fuse.bindfs"),
        ("/pool/sweep.db", "fuse.mergerfs"),
        ("/stick/sweep.db", None),
    ],
)
def test_the_mount_nearest_to_the_file_decides(path: str, kind: str | None) -> None:
    assert network_filesystem(Path(path), MOUNTINFO) == kind


def test_this_machines_own_mounts_are_read(tmp_path: Path) -> None:
    assert network_filesystem(Path("/proc/self/status")) is None
