"""What systems and programs keep beside people's pictures: trash, snapshots, caches, previews.

A walk excludes it (`--hidden` takes it), and names with a leading dot, which covers .Trash-1000,
.@__thumb, .snapshot and the like. An entry here must be a name that people do not give to
folders of their own: a picture that is excluded is not found. Hence no `Cache`, `Thumbnails` or
`Backups` by themselves, and nothing in which a program keeps originals.
"""

from __future__ import annotations

import os

# Lower case: each of them is met in several spellings. Names of folders.
FOLDERS = frozenset(
    {
        # Windows
        b"$recycle.bin",
        b"recycler",
        b"recycled",
        b"system volume information",
        # macOS, also on network volumes and in archives
        b"__macosx",
        b"network trash folder",
        b"temporary items",
        b"thevolumesettingsfolder",
        # Linux
        b"lost+found",
        b"@snapshots",
        b"@.snapshots",
        b"timeshift-btrfs",
        # Synology
        b"@eadir",
        b"#recycle",
        b"#snapshot",
        b"@tmp",
        b"@appconf",
        b"@appdata",
        b"@apphome",
        b"@appstore",
        b"@apptemp",
        b"@database",
        b"@img_bkp_cache",
        b"@s2s",
        b"@sharebin",
        b"@sharesnap",
        b"@synodrive",
        b"@synologydrive",
        b"@synoresource",
        # QNAP
        b"@recycle",
        b"@recently-snapshot",
        b"@__thumb",
        b"@transcode",
        # NetApp, Buffalo
        b"~snapshot",
        b"trashbox",
        # Nextcloud and ownCloud, in a user's data
        b"files_trashbin",
        b"files_versions",
    }
)
FOLDER_BEGINNINGS = (
    b"@gmt-",  # Samba's shadow copies: @GMT-2024.01.31-12.00.00
    b"network recycle bin",  # QNAP numbers them
    b"@synofinder-",
    b"appdata_oc",  # Nextcloud's previews
)
FOLDER_ENDINGS = (
    b".lrdata",  # Lightroom's previews and smart previews
    b".lrcat-data",
)

# Folders that hold no originals only where they lie directly in a library.
_APPLE = frozenset(
    {
        *(b"resources", b"database", b"private", b"internal", b"external", b"scopes"),
        *(b"previews", b"thumbnails", b"proxies", b"attachments", b"caches", b"ipod photo cache"),
    }
)
_CAPTURE_ONE = frozenset({b"cache"})
LIBRARY_ENDINGS = {
    b".photoslibrary": _APPLE,  # Photos: `originals`, once `Masters`, are the pictures
    b".photolibrary": _APPLE,  # iPhoto
    b".migratedphotolibrary": _APPLE,
    b".aplibrary": _APPLE,  # Aperture
    b".migratedaplibrary": _APPLE,
    b".cocatalog": _CAPTURE_ONE,
}
LIBRARIES = {
    b"iphoto library": _APPLE,
    b"captureone": _CAPTURE_ONE,  # in the folder of a session
    b"m4root": frozenset({b"thmbnl"}),  # Sony's cameras: a frame of each film
}

# Endings of files that a browser, a download manager or a synchronisation is still writing.
UNFINISHED = (
    *(b".part", b".partial", b".filepart", b".crdownload", b".download", b".opdownload"),
    *(b".aria2", b".!ut", b".!qb", b".!bt", b".bc!", b".!sync"),
)
UNFINISHED_BEGINNINGS = (b"~syncthing~",)


def housekeeping_in(folder: bytes) -> frozenset[bytes]:
    """The names, in lower case, of a folder's subfolders that hold no originals."""
    name = os.path.basename(folder).lower()
    ending = os.path.splitext(name)[1]
    return FOLDERS | LIBRARIES.get(name, LIBRARY_ENDINGS.get(ending, frozenset()))


def is_housekeeping(name: bytes, *, is_folder: bool, folders: frozenset[bytes]) -> bool:
    """Whether a name is a system's or a program's, not a picture's; `folders` is
    `housekeeping_in` of the folder that it is in."""
    low = name.lower()
    if is_folder:
        return low in folders or low.startswith(FOLDER_BEGINNINGS) or low.endswith(FOLDER_ENDINGS)
    return low.endswith(UNFINISHED) or low.startswith(UNFINISHED_BEGINNINGS)
