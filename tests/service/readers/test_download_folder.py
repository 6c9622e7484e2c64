"""Temporary files of downloads: what a killed service left is removed, what others use is kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from service.readers.download_folder import DownloadFolder

_LEAVE = """
import os, signal, sys
from pathlib import Path
from service.readers.download_folder import DownloadFolder
DownloadFolder(Path(sys.argv[1])).new_file("nc").write_bytes(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_service_left_is_swept(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _LEAVE, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / "download-0123.nc").write_bytes(b"of an earlier version")
    (tmp_path / "download-0123.zarr.folder").mkdir()
    (tmp_path / "other").mkdir()
    live = DownloadFolder(tmp_path)
    mine = live.new_file("nc")
    mine.write_bytes(b"being sent")
    assert len(list(tmp_path.rglob("download-*.nc"))) == 3
    DownloadFolder(tmp_path).sweep()
    assert list(tmp_path.rglob("download-*.nc")) == [mine]
    assert (tmp_path / "other").is_dir()
    live.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert live.new_file("nc").parent.is_dir(), "made again when it is needed"
