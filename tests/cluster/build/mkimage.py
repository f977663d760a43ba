#!/usr/bin/env python3
"""Writes a docker archive of one layer: mkimage.py OUT NAME[,NAME…] [--root=TAR] [PATH=FILE | PATH=->TARGET]… [-- ENTRYPOINT…]

For images that only carry binaries, so that making them takes no engine and gives the same bytes each time: equal
layers then have equal digests, and a node stores them once.
"""

import hashlib
import io
import json
import os
import sys
import tarfile

LEFT_OUT = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./dev/")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def entry(name, **fields):
    info = tarfile.TarInfo(name)
    info.mode = 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def write_layer(file, root, files):
    with tarfile.open(fileobj=file, mode="w") as layer:
        folders = set()
        if root:
            with tarfile.open(root) as base:
                for member in base:
                    if not member.name.startswith(LEFT_OUT):
                        layer.addfile(member, base.extractfile(member) if member.isreg() else None)
        for item in files:
            target, source = item.split("=", 1)
            parts = target.split("/")[:-1]
            for n in range(1, len(parts) + 1):
                folder = "/".join(parts[:n])
                if not root and folder not in folders:  # a root may have a link there, which a folder would replace
                    folders.add(folder)
                    layer.addfile(entry(folder, type=tarfile.DIRTYPE))
            if source.startswith("->"):
                layer.addfile(entry(target, type=tarfile.SYMTYPE, linkname=source[2:]))
            else:
                with open(source, "rb") as content:
                    layer.addfile(entry(target, size=os.path.getsize(source)), content)


def main():
    arguments = sys.argv[1:]
    entrypoint = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, entrypoint = arguments[:cut], arguments[cut + 1 :]
    out, names, *files = arguments
    root = next((f[len("--root=") :] for f in files if f.startswith("--root=")), None)
    files = [f for f in files if not f.startswith("--")]

    layer = out + ".layer"
    with open(layer, "w+b") as file:
        write_layer(file, root, files)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [PATH], "Entrypoint": entrypoint or None},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
        "history": [{"created_by": "mkimage"}],
    }
    config = json.dumps(config).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": names.split(","), "Layers": [digest + ".tar"]}]
    with tarfile.open(out, "w") as archive:
        for name, content in ((config_name, config), ("manifest.json", json.dumps(manifest).encode())):
            archive.addfile(entry(name, size=len(content)), io.BytesIO(content))
        archive.add(layer, digest + ".tar")
    os.unlink(layer)


main()
