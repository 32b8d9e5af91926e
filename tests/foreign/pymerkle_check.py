"""Gives proofs of an evidence pack to pymerkle: one line for each file given, `ok` or `rejected`.

    pymerkle_check.py PACK RECEIPT...

The tree is built by pymerkle from the entries of the pack, and must have the root of the checkpoint at
its size and that of the previous checkpoint at its size; then each proof is verified. Consistency proofs
are not: those of pymerkle are not the ones of RFC 9162.
"""

import base64
import pathlib
import struct
import sys

from pymerkle import InclusionProof, InmemoryTree, InvalidProof
from pymerkle.core import _inclusion_path_layout


def head(text):
    _, size, root = text.split("\n")[:3]
    return int(size), base64.b64decode(root, validate=True)


def entries(pack, size):
    for index in range(-(-size // 256)):
        count = min(256, size - 256 * index)
        name = "%03d" % index + ("" if count == 256 else ".p/%d" % count)
        data, at = (pack / "tile/entries" / name).read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from(">H", data, at)
            yield data[at + 2 : at + 2 + length]
            at += 2 + length


def check_receipt(tree, lines, note):
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    size, root = head(note)
    entry = base64.b64decode(lines[1][len("extra ") :], validate=True)
    index = int(lines[2][len("index ") :])
    if not index < size:
        raise InvalidProof("beyond the tree")
    leaf = tree.hash_buff(entry)
    rule, _ = _inclusion_path_layout(index + 1, size)
    path = [leaf] + [base64.b64decode(line, validate=True) for line in lines[3:]]
    proof = InclusionProof("sha256", True, size, index + 1, rule, path)
    proof.verify(leaf, root, index=index + 1, size=size, algorithm="sha256")
    if tree.get_leaf(index + 1) != leaf or tree.get_root(size) != root:
        raise InvalidProof("not of this tree")


def main():
    pack = pathlib.Path(sys.argv[1])
    tree = InmemoryTree(algorithm="sha256")
    size, root = head((pack / "checkpoint").read_text())
    for entry in entries(pack, size):
        tree.append_entry(entry)
    old, old_root = head((pack / "previous-checkpoint").read_text())
    assert tree.get_size() == size and tree.get_root(size) == root, "another root"
    assert tree.get_root(old) == old_root, "another root at the earlier size"
    for name in sys.argv[2:]:
        text, _, note = pathlib.Path(name).read_text().partition("\n\n")
        lines = text.split("\n")
        try:
            check_receipt(tree, lines, note)
            print("ok", name)
        except (InvalidProof, ValueError, IndexError) as why:
            print("rejected", name, why)


main()
