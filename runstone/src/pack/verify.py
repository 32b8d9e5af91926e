#!/usr/bin/env python3
"""Checks an evidence pack, offline.

    python3 verify.py [DIR] [--policy FILE] [--previous FILE]

DIR         the pack; default: where this program lies
--policy    whom you trust, instead of what came with the pack (C2SP tlog-policy)
--previous  a checkpoint of this log that you kept yourself

One line a check. Exit 0: all hold. Exit 1: one does not, and it is the last line. Exit 2: this
program cannot run. Needs Python 3.8 and the package `cryptography`, for Ed25519 alone. It shares no
code with the program that wrote the pack; docs/FORMAT.md of Runstone describes every format.
"""

import argparse
import base64
import datetime
import hashlib
import json
import os
import re
import struct
import sys
import unicodedata

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    print("verify.py needs the package `cryptography`: python3 -m pip install cryptography", file=sys.stderr)
    sys.exit(2)

MAX_TEXT, MAX_POLICY, MAX_DISCLOSURE = 128 << 10, 256 << 10, 96 << 20
MAX_SIZE = (1 << 63) - 1
TILE = 256
DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


class Wrong(Exception):
    """A check does not hold."""


def need(holds, why):
    if not holds:
        raise Wrong(why)


def sha256(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


# Reading texts


def unbase64(text, length=None):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, UnicodeEncodeError):
        raise Wrong("not base64: " + ascii(text[:60]))
    need(base64.b64encode(data).decode() == text, "base64 with stray bits")
    need(length is None or len(data) == length, "not %s bytes in base64" % length)
    return data


def decimal(text):
    need(DECIMAL.match(text) and int(text) <= MAX_SIZE, "not a number: " + ascii(text[:30]))
    return int(text)


def read(path, limit):
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    need(len(data) <= limit, "longer than %d bytes" % limit)
    return data


def as_text(data, allowed=b"\n"):
    need(all(byte >= 32 and byte != 127 or byte in allowed for byte in data), "control characters")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Wrong("not UTF-8")
    need(text.endswith("\n"), "does not end in a newline")
    return text


def is_name(text):
    """A name of a key: an origin, or a witness."""
    bad = any(c.isspace() or c == "+" or unicodedata.category(c) == "Cc" for c in text)
    return 1 <= len(text.encode()) <= 255 and not bad


# Policy, notes and checkpoints (c2sp.org/tlog-policy, signed-note, tlog-checkpoint, tlog-cosignature)


class Key:
    def __init__(self, vkey, kind):
        name, _, rest = vkey.partition("+")
        key_id, _, key = rest.partition("+")
        need(is_name(name), "not a verifier key: " + ascii(vkey[:80]))
        data = unbase64(key, 33)
        need(data[0] == kind, "a key of the wrong type: " + ascii(vkey[:80]))
        self.name, self.kind, self.public, self.vkey = name, kind, data[1:], vkey
        self.id = sha256(name.encode() + b"\n" + data)[:4]
        need(self.id.hex() == key_id, "the id of a key is not its own: " + ascii(vkey[:80]))

    def verify(self, text, signature):
        if self.kind == 1:
            need(len(signature) == 64, "a signature of the wrong length")
            message = text.encode()
        else:
            need(len(signature) == 72, "a cosignature of the wrong length")
            (time,) = struct.unpack(">Q", signature[:8])
            message = ("cosignature/v1\ntime %d\n%s" % (time, text)).encode()
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise Wrong("the signature of %s does not hold" % ascii(self.name))


class Policy:
    def __init__(self, data):
        self.logs, self.witnesses, self.groups, self.quorum = [], {}, {}, None
        quorums, members_of_any = 0, set()
        for line in as_text(data, b"\n\t").split("\n"):
            words = re.split(r"[ \t]+", line.strip(" \t"))
            if words[0] == "" or words[0].startswith("#"):
                continue
            kind, words = words[0], words[1:]
            if kind == "log" and len(words) in (1, 2):
                key = Key(words[0], 1)
                need(all(key.public != other.public for other in self.logs), "a key stands twice")
                self.logs.append(key)
            elif kind == "witness" and len(words) in (2, 3):
                self.new_name(words[0])
                self.witnesses[words[0]] = Key(words[1], 4)
            elif kind == "group" and len(words) >= 3:
                name, number, members = words[0], words[1], words[2:]
                self.new_name(name)
                for member in members:
                    need(self.knows(member) and member not in members_of_any, "a member of a group is not right")
                    members_of_any.add(member)
                count = {"any": 1, "all": len(members)}.get(number) or decimal(number)
                need(1 <= count <= len(members), "a group cannot be met")
                self.groups[name] = (count, members)
            elif kind == "quorum" and len(words) == 1:
                need(words[0] == "none" or self.knows(words[0]), "the quorum is not defined")
                self.quorum = None if words[0] == "none" else words[0]
                quorums += 1
            else:
                raise Wrong("a line that says nothing known: " + ascii(line[:80]))
        need(quorums == 1, "not one quorum line")
        need(self.logs, "it trusts no log")

    def knows(self, name):
        return name in self.witnesses or name in self.groups

    def new_name(self, name):
        need(name != "none" and not self.knows(name), "a name stands twice: " + ascii(name))

    def is_met(self, name, cosigned):
        if name in self.witnesses:
            return name in cosigned
        count, members = self.groups[name]
        return sum(self.is_met(member, cosigned) for member in members) >= count


class Checkpoint:
    """A signed checkpoint that the policy accepts."""

    def __init__(self, note, policy):
        need(len(note.encode()) <= MAX_TEXT, "a note that is too long")
        text, gap, signatures = note.rpartition("\n\n")
        need(gap and signatures.endswith("\n"), "not a signed note")
        self.note, text = note, text + "\n"
        self.signed_by, cosigned, seen = [], [], set()
        for line in signatures[:-1].split("\n"):
            words = line.split(" ")
            need(len(words) == 3 and words[0] == "\u2014" and is_name(words[1]), "a bad signature line")
            data = unbase64(words[2])
            need(len(data) > 4, "a signature that is too short")
            who = (words[1], data[:4])
            need(who not in seen and len(seen) < 100, "a key signs twice, or too many sign")
            seen.add(who)
            for key in policy.logs:
                if (key.name, key.id) == who:
                    key.verify(text, data[4:])
                    self.signed_by.append(key)
            for name, key in policy.witnesses.items():
                if (key.name, key.id) == who:
                    key.verify(text, data[4:])
                    cosigned.append(name)
        lines = text.split("\n")
        need(len(lines) == 4, "a checkpoint has three lines")
        self.origin = lines[0]
        need(is_name(self.origin), "the origin is none")
        need(any(key.name == self.origin for key in policy.logs), "its origin is not in the policy: " + ascii(self.origin))
        need(any(key.name == self.origin for key in self.signed_by), "no key of the policy signed it")
        need(policy.quorum is None or policy.is_met(policy.quorum, cosigned), "the quorum has not cosigned")
        self.size, self.root = decimal(lines[1]), unbase64(lines[2], 32)
        need(self.size or self.root == sha256(b""), "the root of no entries is another one")


# The tree (RFC 9162 section 2.1)


def leaf_hash(entry):
    return sha256(b"\0", entry)


def node_hash(left, right):
    return sha256(b"\1", left, right)


def walk(at, index, size, path):
    """The root that an inclusion proof ends at."""
    fn, sn = index, size - 1
    for node in path:
        need(sn > 0, "the proof is too long")
        if fn & 1 or fn == sn:
            at = node_hash(node, at)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            at = node_hash(at, node)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof is too short")
    return at


def check_inclusion(leaf, index, size, path, root):
    need(index < size, "the index is outside of the tree")
    need(walk(leaf, index, size, path) == root, "the proof does not lead to the root")


def check_consistency(old, old_root, new, new_root, path):
    need(old <= new, "the earlier checkpoint is of more entries")
    if old == 0 or old == new:
        need(not path, "a proof where none is needed")
        need(old == 0 or old_root == new_root, "two roots at one size")
        return
    path = list(path)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    need(path, "the proof is too short")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    one = two = path[0]
    for node in path[1:]:
        need(sn > 0, "the proof is too long")
        if fn & 1 or fn == sn:
            one, two = node_hash(node, one), node_hash(node, two)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            two = node_hash(two, node)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof is too short")
    need(one == old_root, "the proof does not begin at the earlier root")
    need(two == new_root, "the proof does not lead to the root")


def perfect_root(hashes):
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


class Frontier:
    """The root of leaves that come one after the other."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def push(self, leaf):
        self.peaks.append(leaf)
        self.size += 1
        rest = self.size
        while not rest & 1:
            right = self.peaks.pop()
            self.peaks.append(node_hash(self.peaks.pop(), right))
            rest >>= 1

    def root(self):
        if not self.peaks:
            return sha256(b"")
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


# Entries


class Cbor:
    """Deterministic CBOR (RFC 8949 section 4.2.1), as far as a header has it."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "the entry ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self, major):
        (first,) = self.take(1)
        need(first >> 5 == major, "the header is malformed")
        number = first & 31
        if number < 24:
            return number
        need(number < 28, "the header is malformed")
        width = 1 << (number - 24)
        value = int.from_bytes(self.take(width), "big")
        need(value >= (24 if width == 1 else 1 << (width * 4)), "a number that is not in its shortest form")
        return value

    def or_null(self, item):
        if self.data[self.at : self.at + 1] == b"\xf6":
            self.at += 1
            return None
        return item()

    def number(self, limit):
        value = self.head(0)
        need(value < limit, "a number that is too large")
        return value

    def id(self):
        need(self.head(2) == 16, "an id of another length")
        return self.take(16)

    def text(self):
        try:
            return self.take(self.head(3)).decode("utf-8")
        except UnicodeDecodeError:
            raise Wrong("text that is not UTF-8")

    def name(self):
        text = self.text()
        need(1 <= len(text.encode()) <= 255 and no_controls(text), "a name that is none")
        return text


def no_controls(text):
    return all(unicodedata.category(c) != "Cc" for c in text)


def is_tag(tag):
    match = re.match(r"[!-9;-~]{1,64}:", tag)
    return match and len(tag[match.end() :].encode()) <= 256 and no_controls(tag)


class Entry:
    def __init__(self, data):
        cbor = Cbor(data)
        need(cbor.head(4) == 14 and cbor.number(256) == 1, "not a header of version 1")
        self.event_id, self.stream, self.type = cbor.id(), cbor.name(), cbor.text()
        need(len(self.type) <= 128 and re.match(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z", self.type), "not a type")
        self.schema_version = cbor.number(1 << 32)
        self.occurred_at = cbor.or_null(lambda: cbor.number(1 << 64))
        self.source, self.principal, authority = cbor.name(), cbor.name(), cbor.number(4)
        self.authority = ("system", "human", "commander", "agent")[authority]
        self.causation, self.correlation = cbor.or_null(cbor.id), cbor.or_null(cbor.id)
        self.scope = cbor.name()
        self.tags = [cbor.text() for _ in range(cbor.head(4))]
        in_order = all(a.encode() < b.encode() for a, b in zip(self.tags, self.tags[1:]))
        need(all(is_tag(tag) for tag in self.tags) and in_order, "the tags are not right")
        need(cbor.head(4) == 2, "the header is malformed")
        codec, self.key_id = cbor.number(2), cbor.or_null(cbor.id)
        need((codec == 1) == (self.key_id is not None), "codec and key do not fit")
        need(cbor.at <= 4096, "the header is too long")
        self.position, self.revision, self.recorded_at = struct.unpack(">QQQ", cbor.take(24))
        (control,) = struct.unpack(">H", cbor.take(2))
        need(control <= 1052, "control is too long")
        cbor.take(control)
        self.commit = cbor.take(32)
        digest_at = cbor.at
        self.digest = cbor.take(32)
        need(cbor.take(5) == struct.pack(">IB", digest_at, 1), "the addenda index is wrong")
        need(cbor.at == len(data), "bytes follow the entry")

    def __str__(self):
        words = (self.type, self.stream, self.revision, self.principal, self.authority, claimed(self.recorded_at))
        return "%s, stream %a revision %d, by %a (%s), recorded %s" % words


def claimed(micros):
    try:
        time = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
    except OverflowError:
        return "%d us" % micros
    return time.isoformat(timespec="microseconds") + "Z as the writer claims"


# Files of a pack


def split_proof(data):
    """Lines, hashes from `skip` on, and the checkpoint behind the first empty line."""
    text = as_text(data)
    head, gap, note = text.partition("\n\n")
    need(gap, "no empty line")
    return head.split("\n"), note


def hashes(lines):
    need(len(lines) <= 63, "too many hashes")
    return [unbase64(line, 32) for line in lines]


def field(line, name):
    need(line.startswith(name + " "), "no line `%s`" % name)
    return line[len(name) + 1 :]


def read_receipt(path, checkpoint):
    """The entry that a receipt proves under the checkpoint."""
    lines, note = split_proof(read(path, MAX_TEXT))
    need(lines[0] == "c2sp.org/tlog-proof@v1" and len(lines) >= 3, "not a tlog-proof")
    data, index = unbase64(field(lines[1], "extra")), decimal(field(lines[2], "index"))
    # The checkpoint of the pack was verified; any other one would have to be.
    need(note == checkpoint.note, "its checkpoint is not that of the pack")
    check_inclusion(leaf_hash(data), index, checkpoint.size, hashes(lines[3:]), checkpoint.root)
    entry = Entry(data)
    need(entry.position == index, "the entry is of position %d, the index is %d" % (entry.position, index))
    need(os.path.basename(path) == "%d.tlog-proof" % index, "the name of the file is not its position")
    return entry


def unique(pairs):
    members = dict(pairs)
    need(len(members) == len(pairs), "a member of the JSON stands twice")
    return members


def read_disclosure(path, entry):
    """The fields shown, as (name, value), each opened against the entry's COMMIT."""
    data = read(path, MAX_DISCLOSURE)
    try:
        shown = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        again = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise Wrong("not JSON")
    need(again + b"\n" == data, "not in its canonical form (RFC 8785)")
    need(isinstance(shown, dict) and sorted(shown) == ["disclosed", "format", "position", "segments"], "other members")
    need(shown["format"] == "runstone/disclosure@v1", "another format")
    count, items = shown["segments"], shown["disclosed"]
    need(type(shown["position"]) is int and shown["position"] == entry.position, "it is of another position")
    need(type(count) is int and 1 <= count <= 256, "a payload has 1 to 256 segments")
    need(isinstance(items, list) and items, "nothing is disclosed")
    last, fields = -1, {}
    for item in items:
        need(isinstance(item, dict) and sorted(item) == ["index", "name", "path", "salt", "value"], "other members")
        index, name = item["index"], item["name"]
        need(type(index) is int and last < index < count, "the items do not ascend")
        need(isinstance(name, str) and name not in fields, "a name stands twice")
        need(isinstance(item["path"], list) and len(item["path"]) <= 8, "a path is none")
        value = unbase64(item["value"])
        label = struct.pack(">H", len(name.encode())) + name.encode()
        at = leaf_hash(b"runstone/seg/v1\0" + unbase64(item["salt"], 32) + label + value)
        root = walk(at, index, count, [unbase64(node, 32) for node in item["path"]])
        commit = sha256(b"runstone/pc/v1\0", struct.pack(">I", count), root)
        need(commit == entry.commit, "item %d is not what the entry commits to" % index)
        last, fields[name] = index, value
    return count, fields


class Pack:
    def __init__(self, folder, policy, previous):
        self.folder, self.own_policy, self.own_previous = folder, policy, previous
        self.listed, self.used = set(), {"VERIFY.md", "verify.py"}
        self.certificates = {}

    def path(self, name):
        return os.path.join(self.folder, *name.split("/"))

    def has(self, name):
        self.used.add(name)
        return name in self.listed

    def read(self, name, limit=MAX_TEXT):
        need(self.has(name), "the file %s is missing" % name)
        return read(self.path(name), limit)

    def under(self, folder, ending):
        """Positions that have a file in a folder, in order."""
        found = []
        for name in self.listed:
            if name.startswith(folder + "/") and name.endswith(ending):
                found.append(decimal(name[len(folder) + 1 : len(name) - len(ending)]))
        return sorted(found)

    def run(self):
        say("files", self.check_files)
        say("policy", self.check_policy)
        say("checkpoint", self.check_checkpoint)
        say("consistency", self.check_consistency)
        say("tiles", self.check_tiles)
        if any(name.startswith("tile/entries/") for name in self.listed):
            say("entries", self.check_entries)
        for position in self.under("receipts", ".tlog-proof"):
            say("receipt", lambda: self.check_receipt(position))
        for position in self.under("disclosures", ".json"):
            say("disclosure", lambda: self.check_disclosure(position))
        for position in self.under("certificates", ".tlog-proof"):
            say("certificate", lambda: self.check_certificate(position))
        if self.has("erased"):
            for line in self.lines("erased"):
                say("erased", lambda: self.check_erased(line))
        if self.has("withheld"):
            for line in self.lines("withheld"):
                say("withheld", lambda: self.check_withheld(line))
        say("complete", self.check_complete)

    def lines(self, name):
        with open(self.path(name), "r", encoding="ascii", errors="replace", newline="\n") as file:
            for line in file:
                yield line

    def check_files(self):
        with open(self.path("SHA256SUMS"), "rb") as sums:
            for line in sums:
                match = re.match(rb"([0-9a-f]{64})  ([A-Za-z0-9._/-]+)\n\Z", line)
                need(match, "SHA256SUMS has a line that is none: " + ascii(line[:80]))
                name = match.group(2).decode()
                need(".." not in name.split("/") and not name.startswith("/"), "a path out of the pack")
                need(name not in self.listed, "listed twice: " + name)
                self.listed.add(name)
                digest = hashlib.sha256()
                try:
                    with open(self.path(name), "rb") as file:
                        for block in iter(lambda: file.read(1 << 20), b""):
                            digest.update(block)
                except OSError as error:
                    raise Wrong("%s cannot be read: %s" % (name, error.strerror))
                need(digest.hexdigest() == match.group(1).decode(), "%s is not the file that was written" % name)
        there = 0
        for folder, _, files in os.walk(self.folder):
            for file in files:
                name = os.path.relpath(os.path.join(folder, file), self.folder).replace(os.sep, "/")
                need(name in self.listed or name == "SHA256SUMS", "%s is not listed in SHA256SUMS" % ascii(name))
                there += 1
        need(there == len(self.listed) + 1, "not the files that are listed")
        return "%d, none besides those in SHA256SUMS, none altered since" % len(self.listed)

    def check_policy(self):
        theirs = self.read("policy", MAX_POLICY)
        data = read(self.own_policy, MAX_POLICY) if self.own_policy else theirs
        self.policy = Policy(data)
        whose = "your own" if self.own_policy else "THE PACK'S OWN: compare the key with what you got elsewhere"
        return "%s; %s" % (", ".join(key.vkey for key in self.policy.logs), whose)

    def check_checkpoint(self):
        self.checkpoint = found = Checkpoint(as_text(self.read("checkpoint")), self.policy)
        signers = ", ".join("%s+%s" % (key.name, key.id.hex()) for key in found.signed_by)
        return "%s, %d entries, root %s, signed by %s" % (found.origin, found.size, found.root.hex(), signers)

    def check_consistency(self):
        self.previous, proven = [], "no earlier checkpoint is in the pack"
        if self.has("previous-checkpoint") or self.has("consistency"):
            earlier = Checkpoint(as_text(self.read("previous-checkpoint")), self.policy)
            lines, note = split_proof(self.read("consistency"))
            need(note == self.checkpoint.note, "its checkpoint is not that of the pack")
            need(decimal(field(lines[0], "old")) == earlier.size, "it is from another size")
            new = self.checkpoint
            check_consistency(earlier.size, earlier.root, new.size, new.root, hashes(lines[1:]))
            proven = "%s, %d entries, are the first of these" % (earlier.origin, earlier.size)
            self.previous.append(earlier)
        if self.own_previous:
            own = Checkpoint(as_text(read(self.own_previous, MAX_TEXT)), self.policy)
            need(own.size <= self.checkpoint.size, "your checkpoint is of more entries than the pack")
            self.previous.append(own)
            proven += "; your own checkpoint of %d entries is compared with the tiles" % own.size
        return proven

    def tile(self, level, index, count):
        number = "%03d" % (index % 1000)
        while index >= 1000:
            index //= 1000
            number = "x%03d/%s" % (index % 1000, number)
        name = "tile/%s/%s" % (level, number)
        name += "" if count == TILE else ".p/%d" % count
        return self.read(name, TILE * (2 + 65535)), name

    def leaves(self):
        for index in range(-(-self.checkpoint.size // TILE)):
            count = min(TILE, self.checkpoint.size - index * TILE)
            data, name = self.tile(0, index, count)
            need(len(data) == 32 * count, "%s has not %d hashes" % (name, count))
            for at in range(count):
                yield data[32 * at : 32 * at + 32]

    def check_tiles(self):
        frontier, levels = Frontier(), [[]]
        done = [0]
        wanted = {earlier.size: earlier for earlier in self.previous}
        for earlier in self.previous:
            need(wanted[earlier.size].root == earlier.root, "two roots at one size")

        def compare():
            earlier = wanted.get(frontier.size)
            need(earlier is None or frontier.root() == earlier.root, "another root at an earlier size")

        def whole(level):
            data, name = self.tile(level, done[level], len(levels[level]))
            need(data == b"".join(levels[level]), "%s does not follow from the leaves" % name)
            done[level] += 1

        compare()
        for leaf in self.leaves():
            frontier.push(leaf)
            compare()
            level, node = 0, leaf
            while True:
                if level == len(levels):
                    levels.append([])
                    done.append(0)
                levels[level].append(node)
                if len(levels[level]) < TILE:
                    break
                whole(level)
                node = perfect_root(levels[level])
                levels[level] = []
                level += 1
        for level in range(len(levels)):
            if levels[level]:
                whole(level)
        need(frontier.root() == self.checkpoint.root, "the leaves do not have the root of the checkpoint")
        return "the root follows from %d leaf hashes" % frontier.size

    def check_entries(self):
        leaves, position = self.leaves(), 0
        for index in range(-(-self.checkpoint.size // TILE)):
            count = min(TILE, self.checkpoint.size - index * TILE)
            data, name = self.tile("entries", index, count)
            at = 0
            for _ in range(count):
                need(at + 2 <= len(data), "%s ends early" % name)
                (length,) = struct.unpack(">H", data[at : at + 2])
                entry = data[at + 2 : at + 2 + length]
                need(len(entry) == length, "%s ends early" % name)
                need(leaf_hash(entry) == next(leaves), "entry %d is not the leaf" % position)
                need(Entry(entry).position == position, "an entry of another position at %d" % position)
                at, position = at + 2 + length, position + 1
            need(at == len(data), "%s goes on behind its last entry" % name)
        return "%d, each at its position and the leaf of it" % position

    def receipt(self, folder, position):
        name = "%s/%d.tlog-proof" % (folder, position)
        need(self.has(name), "%s is missing" % name)
        return read_receipt(self.path(name), self.checkpoint)

    def check_receipt(self, position):
        return "%d: %s" % (position, self.receipt("receipts", position))

    def disclosure(self, folder, position, entry):
        name = "%s/%d.json" % (folder, position)
        need(self.has(name), "%s is missing" % name)
        return read_disclosure(self.path(name), entry)

    def check_disclosure(self, position):
        entry = self.receipt("receipts", position)
        count, fields = self.disclosure("disclosures", position, entry)
        size = sum(len(value) for value in fields.values())
        return "%d: %d of %d segments, %d bytes, are what the entry commits to" % (position, len(fields), count, size)

    def check_certificate(self, position):
        entry = self.receipt("certificates", position)
        need(entry.stream == "log" and entry.key_id is None, "it is no evidence of the log itself")
        count, fields = self.disclosure("certificates", position, entry)
        need(len(fields) == count, "it is not shown whole")
        try:
            if list(fields) == [""]:
                content = json.loads(fields[""].decode("utf-8"), object_pairs_hook=unique)
            else:
                content = {name: json.loads(value.decode("utf-8")) for name, value in fields.items()}
        except ValueError:
            raise Wrong("its content is not JSON")
        need(isinstance(content, dict), "its content is another")
        if entry.type == "log.erasure_requested":
            need(all(isinstance(content.get(name), list) for name in ("scopes", "key_ids")), "its content is another")
            text = "erasure of %s requested, basis %a" % (ascii(content["scopes"]), content.get("basis"))
        else:
            need(entry.type == "log.erasure_completed", "it is no certificate: " + entry.type)
            text = "erasure requested at %s completed: keys destroyed: %a, file rewritten: %a"
            text %= (content.get("requested"), content.get("destroyed"), content.get("rewritten"))
        self.certificates[position] = (entry.type, content)
        return "%d: %s" % (position, text)

    def check_erased(self, line):
        words = line.rstrip("\n").split(" ")
        need(line.endswith("\n") and len(words) == 3, "not a line of `erased`: " + ascii(line[:60]))
        position, requested = decimal(words[0]), decimal(words[1])
        entry = self.receipt("receipts", position)
        need("disclosures/%d.json" % position not in self.listed, "%d is disclosed, so not erased" % position)
        kind, content = self.certificates.get(requested, (None, None))
        need(kind == "log.erasure_requested" and position < requested, "no request of the erasure of %d" % position)
        if entry.key_id is None:
            need(entry.scope in content["scopes"], "the erasure is not of the scope of %d" % position)
        else:
            need(entry.key_id.hex() in content["key_ids"], "the erasure is not of the key of %d" % position)
        if words[2] == "pending":
            return "%d: by the erasure requested at %d, NOT COMPLETED when the pack was made" % (position, requested)
        kind, content = self.certificates.get(decimal(words[2]), (None, None))
        need(kind == "log.erasure_completed" and content.get("requested") == requested, "no certificate for %d" % position)
        return "%d: by the erasure requested at %d, certificate %s" % (position, requested, words[2])

    def check_withheld(self, line):
        position = decimal(line.rstrip("\n"))
        need(line.endswith("\n"), "not a line of `withheld`")
        self.receipt("receipts", position)
        need("disclosures/%d.json" % position not in self.listed, "%d is disclosed, so not withheld" % position)
        return "%d: content not in this copy of the log, NO ERASURE ACCOUNTS FOR IT" % position

    def check_complete(self):
        rest = sorted(self.listed - self.used)
        need(not rest, "a file that no check looked at: %s" % ascii(rest[0] if rest else ""))
        return "every file was looked at; VERIFY.md and verify.py only against SHA256SUMS"


def say(what, check):
    try:
        print("ok    %-12s %s" % (what, check()))
    except Wrong as wrong:
        print("FAIL  %-12s %s" % (what, wrong))
    except Exception as error:  # whatever it is, the check does not hold
        print("FAIL  %-12s %s: %s" % (what, type(error).__name__, error))
    else:
        return
    sys.stdout.flush()
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description="Checks an evidence pack, offline.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("folder", nargs="?", default=here, metavar="DIR", help="the pack")
    parser.add_argument("--policy", metavar="FILE", help="whom you trust, instead of what came with the pack")
    parser.add_argument("--previous", metavar="FILE", help="a checkpoint of this log that you kept")
    args = parser.parse_args()
    Pack(args.folder, args.policy, args.previous).run()
    print("all checks hold")


if __name__ == "__main__":
    main()
