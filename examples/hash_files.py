"""One digest for all files below a folder, by an asyncio program that knows nothing of threadcache.

``python examples/hash_files.py FOLDER`` runs it in asyncio's own threads, ``python -m threadcache run --report
examples/hash_files.py FOLDER`` in those of the cache, and tells what became of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

AT_A_TIME = 16


async def digest(path: Path, turn: asyncio.Semaphore) -> bytes:
    async with turn:
        content = await asyncio.to_thread(path.read_bytes)
    return hashlib.sha256(content).digest()


async def main(folder: Path) -> str:
    paths = await asyncio.to_thread(lambda: sorted(path for path in folder.rglob("*") if path.is_file()))
    turn = asyncio.Semaphore(AT_A_TIME)
    digests = await asyncio.gather(*(digest(path, turn) for path in paths))
    return f"{hashlib.sha256(b''.join(digests)).hexdigest()}  {len(paths):,} files"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: hash_files.py FOLDER")
    print(asyncio.run(main(Path(sys.argv[1]))))
