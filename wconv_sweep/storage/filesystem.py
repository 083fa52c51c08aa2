"""Detects network file systems, which other machines may write to, and what may hide one."""

from pathlib import Path

_NETWORK = {
    *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "daos", "gfs", "gfs2", "glusterfs"),
    *("gpfs", "lustre", "lustre_lite", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs"),
    *("panfs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "virtiofs", "wekafs"),
}
# FUSE file systems are remote (sshfs, s3fs, GlusterFS, CephFS), with a few exceptions. None of
# these is a view of a folder that others may open as it is, such as bindfs or mergerfs: the memory
# that SQLite's processes share does not pass through, and of two writers, one on each side, the
# rows of one are lost without an error. Some views have the bare type "fuse".
_LOCAL_FUSE = {
    *("fuse-overlayfs", "overlayfs", "squashfuse", "squashfuse_ll"),
    *("encfs", "gocryptfs", "cryfs", "ext2", "fuse2fs", "ntfs-3g"),
}


def network_filesystem(path: Path, mountinfo: str | None = None) -> str | None:
    """Return the type of the file system that a path lies on if others may write to it elsewhere.

    None on a local disk.

    Args:
        path: of a file that need not exist.
        mountinfo: text of /proc/self/mountinfo; None reads it. Without one nothing is known, and
            the path counts as local.
    """
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        except OSError:
            return None
    kind = _type_of(path.resolve(), mountinfo)
    if kind is None:
        return None
    if kind.startswith("fuse."):
        return None if kind.removeprefix("fuse.") in _LOCAL_FUSE else kind
    return kind if kind in _NETWORK or kind == "fuse" else None


def _type_of(path: Path, mountinfo: str) -> str | None:
    longest, kind = -1, None
    for line in mountinfo.splitlines():
        # 36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4]))
        # Of two mounts on one point, the later one is visible.
        if path.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), after.split(" ")[0]
    return kind


def _unescaped(field: str) -> str:
    """Return a field of mountinfo with escapes such as \\040 decoded."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, character)
    return field
