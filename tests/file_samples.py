"""A small valid file of every format that `targets.load` reads, and broken copies of it, the same for the same number."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

LABELS = np.zeros((5, 5, 5), np.uint8)
LABELS[1:4, 1:4, 1:4] = 1
LABELS[3, 1:4, 1:4] = 2
RGBA = np.repeat((LABELS > 0)[..., None], 4, axis=-1).astype(np.float32)
RGBA[..., 1] *= 0.5
# The lattice that they are read into.
SIZE = (7, 7, 7)
STONES = ("minecraft:air", "minecraft:stone", "minecraft:oak_planks")
Writer = Callable[[Path], object]


def npz(path: Path) -> None:
    np.savez_compressed(path, labels=LABELS, names=np.array(["empty", "trunk", "head"]))


def scan(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    kind = nibabel.MGHImage if path.suffix in (".mgz", ".mgh") else nibabel.Nifti1Image
    kind = nibabel.Nifti1Pair if {".hdr", ".img"} & set(path.suffixes) else kind
    nibabel.save(kind(LABELS, np.diag([1, 1, 2, 1])), path)


def nrrd(path: Path) -> None:
    pytest.importorskip("nrrd").write(str(path), LABELS, {"space": "left-posterior-superior", "encoding": "gzip"})


def meta_image(path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    itk.WriteImage(itk.GetImageFromArray(LABELS), str(path))


def vtk_image(path: Path) -> None:
    head = "# vtk DataFile Version 3.0\nbody\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 5 5 5\nSPACING 1 1 1\nORIGIN 0 0 0\n"
    numbers = " ".join(map(str, LABELS.ravel()))
    path.write_text(f"{head}POINT_DATA 125\nSCALARS labels unsigned_char 1\nLOOKUP_TABLE default\n{numbers}\n")


def vti_text(path: Path) -> None:
    numbers = " ".join(map(str, LABELS.ravel()))
    path.write_text(
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian"><ImageData WholeExtent="0 4 0 4 0 4" '
        'Origin="0 0 0" Spacing="1 1 1" Direction="0 0 1 0 1 0 -1 0 0"><Piece Extent="0 4 0 4 0 4"><PointData Scalars="labels">'
        f'<DataArray type="UInt8" Name="labels" format="ascii">{numbers}</DataArray></PointData></Piece></ImageData></VTKFile>'
    )


def ours(path: Path) -> None:
    """What visualize.save writes."""
    if path.suffix == ".vti":
        pytest.importorskip("pyvista")
    import visualize

    visualize.save(RGBA, path)


def blocks(path: Path) -> None:
    """A structure, a schematic (Sponge) or a Litematica file of Minecraft."""
    nbt = pytest.importorskip("nbtlib")
    order = LABELS.transpose(0, 2, 1).ravel()  # y up, then z, then x
    states = [nbt.Compound({"Name": nbt.String(name)}) for name in STONES]
    places = np.argwhere(LABELS)[:, [2, 0, 1]].tolist()
    ids = {name: nbt.Int(index) for index, name in enumerate(STONES)}
    sides = {name: nbt.Short(5) for name in ("Width", "Height", "Length")}
    # Two bits a block, five to the last bit of a word and on into the next.
    bits = "".join(f"{label:02b}" for label in order[::-1]).zfill(256)
    words = [int(bits[at : at + 64], 2) for at in range(192, -1, -64)]
    signed = np.array(words, np.uint64).view(np.int64)
    vector = {axis: nbt.Int(5) for axis in "xyz"}
    region = {
        "Position": nbt.Compound(vector),
        "Size": nbt.Compound(vector),
        "BlockStatePalette": nbt.List[nbt.Compound](states),
    }
    tables = {
        ".nbt": {
            "size": nbt.List[nbt.Int]([nbt.Int(5)] * 3),
            "palette": nbt.List[nbt.Compound](states),
            "blocks": nbt.List[nbt.Compound](
                [nbt.Compound({"pos": nbt.List[nbt.Int](map(nbt.Int, place)), "state": nbt.Int(1)}) for place in places]
            ),
            "entities": nbt.List[nbt.Compound]([]),
            "DataVersion": nbt.Int(3465),
        },
        ".schem": {
            "Version": nbt.Int(2),
            "DataVersion": nbt.Int(3465),
            **sides,
            "PaletteMax": nbt.Int(3),
            "Palette": nbt.Compound(ids),
            "BlockData": nbt.ByteArray(order.astype(np.int8)),
        },
        ".litematic": {
            "Version": nbt.Int(6),
            "MinecraftDataVersion": nbt.Int(3465),
            "Metadata": nbt.Compound({"RegionCount": nbt.Int(1), "Name": nbt.String("body")}),
            "Regions": nbt.Compound({"body": nbt.Compound({**region, "BlockStates": nbt.LongArray(signed)})}),
        },
    }
    tables[".schematic"] = tables[".schem"]  # the older name; what MCEdit wrote under it is refused
    root = "Schematic" if path.suffix in (".schem", ".schematic") else ""
    nbt.File(tables[path.suffix], gzipped=True, root_name=root).save(path)


def box(path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.box((2, 3, 4))
    if path.suffix in (".ply", ".glb", ".gltf"):
        mesh.visual.vertex_colors = np.arange(32).reshape(8, 4) * 8
    if path.suffix != ".gltf":
        mesh.export(path)
        return
    for name, data in trimesh.exchange.gltf.export_gltf(mesh.scene()).items():
        (path.with_suffix(".gltf") if name.endswith(".gltf") else path.parent / name).write_bytes(data)


def box_3mf(path: Path) -> None:
    """A tetrahedron, in the package that the format asks for; trimesh would need one more library to write it."""
    space = "http://schemas.openxmlformats.org/package/2006"
    model = (
        '<model unit="millimeter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources>'
        '<object id="1" type="model"><mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="2" y="0" z="0"/>'
        '<vertex x="0" y="2" z="0"/><vertex x="0" y="0" z="2"/></vertices><triangles><triangle v1="0" v2="2" v3="1"/>'
        '<triangle v1="0" v2="1" v3="3"/><triangle v1="0" v2="3" v3="2"/><triangle v1="1" v2="2" v3="3"/></triangles></mesh>'
        '</object></resources><build><item objectid="1"/></build></model>'
    )
    kinds = '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
    start = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
    link = f'<Relationship Target="/3D/3dmodel.model" Id="r" Type="{start}"/>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{space}/content-types">{kinds}</Types>')
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{space}/relationships">{link}</Relationships>')
        archive.writestr("3D/3dmodel.model", model)


def textured(path: Path) -> None:
    """A box with a picture on it: as a .glb, or as an .obj with its .mtl and .png."""
    trimesh = pytest.importorskip("trimesh")
    from PIL import Image

    mesh = trimesh.creation.box((2, 3, 4))
    picture = Image.fromarray((np.arange(48).reshape(4, 4, 3) * 5).astype(np.uint8))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=picture)
    mesh.visual = trimesh.visual.TextureVisuals(uv=np.linspace(0, 1, 16).reshape(8, 2), material=material)
    mesh.export(path)


def ply_text(path: Path) -> None:
    corners = "0 0 0 255 0 0\n2 0 0 0 255 0\n0 2 0 0 0 255\n0 0 2 9 9 9\n"
    kinds = "".join(f"property float {axis}\n" for axis in "xyz") + "".join(
        f"property uchar {colour}\n" for colour in ("red", "green", "blue")
    )
    faces = "3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    head = (
        f"ply\nformat ascii 1.0\nelement vertex 4\n{kinds}element face 4\nproperty list uchar int vertex_indices\nend_header\n"
    )
    path.write_text(head + corners + faces)


def picture(path: Path) -> None:
    from PIL import Image

    lossy = path.suffix in (".jpg", ".jpeg")
    pixels = np.full((12, 10, 4), 255, np.uint8) if lossy else np.zeros((12, 10, 4), np.uint8)
    pixels[2:10, 2:8] = (200, 30, 60, 255)
    Image.fromarray(pixels[..., :3] if lossy else pixels).save(path)


def stack(path: Path) -> None:
    """One picture a layer."""
    from PIL import Image

    first, *rest = [Image.fromarray(layer) for layer in LABELS]
    first.save(path, save_all=True, append_images=rest)


def table(path: Path) -> None:
    """A cell a line: its place and its label."""
    places = np.argwhere(LABELS)
    rows = [(*map(str, place[::-1]), str(LABELS[tuple(place)])) for place in places]
    path.write_text("\n".join(("\t" if path.suffix == ".tsv" else ",").join(row) for row in [("x", "y", "z", "label"), *rows]))


def goxel(path: Path) -> None:
    """The text files of Goxel: place and colour."""
    rows = [" ".join(map(str, place[::-1])) + " ff8040" for place in np.argwhere(LABELS)]
    path.write_text("\n".join(["# Goxel 0.12.0", "# One line per voxel", "# X Y Z RRGGBB", *rows]) + "\n")


def kept(path: Path) -> None:
    from nca3d.targets import from_array
    from nca3d.targets.kept import KeptTarget

    path.write_bytes(KeptTarget.of(from_array(LABELS, size=SIZE, name="body")).data)


# A format enters by one line: its suffix, and what writes valid files of it. A test fails for one that READERS alone knows.
SAMPLES: dict[str, tuple[Writer, ...]] = {
    ".npy": (lambda path: np.save(path, LABELS), lambda path: np.save(path, RGBA)),
    ".npz": (lambda path: np.savez_compressed(path, body=RGBA), npz),
    **dict.fromkeys((".nii", ".nii.gz", ".mgz", ".mgh", ".hdr", ".img", ".hdr.gz", ".img.gz"), (scan,)),
    **dict.fromkeys((".nrrd", ".nhdr"), (nrrd,)),
    **dict.fromkeys((".mha", ".mhd"), (meta_image,)),
    ".vti": (ours, vti_text),
    ".vtk": (vtk_image,),
    ".vox": (ours,),
    **dict.fromkeys((".nbt", ".schem", ".schematic", ".litematic"), (blocks,)),
    ".ply": (box, ply_text),
    ".obj": (box, textured),
    ".glb": (box, textured),
    **dict.fromkeys((".stl", ".gltf", ".off"), (box,)),
    ".3mf": (box_3mf,),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"), (picture,)),
    **dict.fromkeys((".tif", ".tiff"), (stack,)),
    **dict.fromkeys((".csv", ".tsv"), (table,)),
    ".txt": (goxel,),
    ".safetensors": (kept,),
}
# What has to be asked for.
OPTIONS: dict[Writer, dict[str, object]] = {npz: {"key": "labels"}}
# Their readers run in a child, which takes a third of a second.
SLOW = (".vti", ".vtk", ".mha", ".mhd", ".tif", ".tiff")


def _gzip(data: bytes, rng: np.random.Generator) -> bytes:
    return gzip.compress(_damaged(gzip.decompress(data), rng), 1, mtime=0)


def _zip(data: bytes, rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        names = source.namelist()
        hit = rng.integers(len(names))
        for index, name in enumerate(names):
            inner = source.read(name)
            target.writestr(name, _damaged(inner, rng) if index == hit else inner)
    return out.getvalue()


def _png(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages chunks, and mends their checksums."""
    data, at = data[:8] + _damaged(data[8:], rng), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data = data[:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end])) + data[end + 4 :]
        at = end + 4
    return data


# Damage of packed bytes is noticed by checksums, before a reader of what is in them sees any of it.
INSIDE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    **dict.fromkeys((".nii.gz", ".hdr.gz", ".img.gz", ".mgz", ".nbt", ".schem", ".schematic", ".litematic"), _gzip),
    **dict.fromkeys((".npz", ".3mf"), _zip),
    ".png": _png,
}
# What headers are afraid of: numbers at the ends of their types, and what text says in place of a number.
ODD = [b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\x7f"]
TEXT = [b"-1", b"0", b"99999999", b"1e308", b"nan", b"-inf", b"4294967296", b"(", b"'", b",", b"\n", b"<", b"", b"\xc3\x28"]


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Changes one to four places, half of them in the beginning."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = int(rng.random() ** rng.choice([1, 2]) * len(data))
        some = rng.bytes(rng.integers(1, 9))
        kind = rng.integers(9)
        if kind <= 1:  # one bit, the fault that disks make
            data = data[:at] + bytes(byte ^ 1 << some[0] % 8 for byte in data[at : at + 1]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + some + data[at + len(some) :]
        elif kind == 3:
            odd = ODD[rng.integers(len(ODD))]
            data = data[: at // 4 * 4] + odd + data[at // 4 * 4 + 4 :]
        elif kind == 4:
            data = data[:at] + some + data[at:]
        elif kind == 5:
            data = data[:at] + data[at + rng.integers(1, 64) :]
        elif kind == 6:  # a piece twice
            data = data[:at] + data[max(0, at - 64) :]
        elif kind == 7:  # a word for a word
            end = at + next((n for n, byte in enumerate(data[at : at + 32]) if byte in b' \n",<>=/'), 1)
            data = data[:at] + TEXT[rng.integers(len(TEXT))] + data[end:]
        else:
            data = data[:at] if rng.random() < 0.2 else data[:at] + bytes([rng.integers(256)]) + data[at + 1 :]
    return data


def broken(data: bytes, suffix: str, number: int) -> bytes:
    """Returns a broken copy of a file, the same for the same number; every other one is broken inside, if it is packed."""
    rng = np.random.default_rng([number, *suffix.encode()])
    if number % 2 and suffix in INSIDE:
        return INSIDE[suffix](data, rng)
    return _damaged(data, rng)
