//! Policies, and quorums of witnesses.

use proptest::prelude::*;
use runstone_receipt::Policy;
use runstone_receipt::checkpoint::CheckpointError;
use runstone_receipt::note::{CosignerKey, NoteError, SignedNote, Signer, Vkey};
use runstone_receipt::policy::{MAX_POLICY_LEN, PolicyError, PolicyRule};

use crate::sample::{ORIGIN, cosigned, signed, signer, with_time, witness};

/// The example of the specification, with keys.
fn example() -> String {
    let key = |number| witness(number).key().to_string();
    let of = |letter: &str, first: u8| {
        let lines = (1..=3).map(|n| format!("witness {letter}{n} {}\n", key(first + n)));
        lines.collect::<String>()
    };
    format!(
        "log {}\n\n{}group X-witnesses 2 X1 X2 X3\n\n{}group Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        signer().vkey(),
        of("X", 0),
        of("Y", 10),
    )
}

#[test]
fn the_quorum_of_the_specification_s_example_is_enforced() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    for (witnesses, is_met) in [
        (&[1, 2, 11][..], true),
        (&[13, 3, 1], true),
        (&[1, 2, 3, 11, 12, 13], true),
        (&[1, 2, 12, 99], true),
        (&[], false),
        (&[1, 2], false),
        (&[1, 2, 3], false),
        (&[1, 11], false),
        (&[11, 12, 13], false),
        (&[1, 98, 99, 11], false),
    ] {
        let found = policy.verify_checkpoint(&cosigned(7, witnesses), None);
        let known = witnesses.iter().filter(|number| **number < 90);
        match found {
            Ok(head) => {
                assert!(is_met, "{witnesses:?}");
                let names = head.cosigned_by().iter().map(|one| one.key().clone());
                assert!(names.eq(known.clone().map(|number| witness(*number).key().clone())));
                let times = head
                    .cosigned_by()
                    .iter()
                    .map(runstone_receipt::note::Cosignature::time_s);
                assert!(times.eq(known.map(|number| 1_764_000_000 + u64::from(*number))));
            }
            Err(error) => {
                assert!(!is_met, "{witnesses:?}: {error}");
                let quorum = CheckpointError::Quorum {
                    quorum: "X-and-Y".to_owned(),
                    cosigned: known.count(),
                };
                assert_eq!(error, quorum);
            }
        }
    }
}

#[test]
fn a_key_of_a_log_is_no_witness_and_the_other_way_round() {
    // One secret, both roles: each type of signature has a key id of its own.
    let twin = CosignerKey::new(ORIGIN, &signer().vkey().public_key()).unwrap();
    let line = format!("log {}\nwitness w {twin}\nquorum w\n", signer().vkey());
    let policy = Policy::parse(line.as_bytes()).unwrap();
    let error = policy
        .verify_checkpoint(signed(7).text(), None)
        .unwrap_err();
    assert!(matches!(error, CheckpointError::Quorum { cosigned: 0, .. }));
    // A cosignature alone is not the log's word.
    let text = SignedNote::parse(signed(7).text()).unwrap();
    let head = text.text();
    let other = Signer::new("example.com/other", &[1; 32]).unwrap();
    let note = SignedNote::sign(head, &[&other]).unwrap();
    let note = note
        .with_signature(witness(1).cosign(head, 1).unwrap())
        .unwrap();
    let policy = Policy::of_logs([signer().vkey()]).unwrap();
    let policy = policy.witness("w", witness(1).key().clone(), None).unwrap();
    let policy = policy.quorum("w").unwrap();
    let error = policy.verify_checkpoint(&note.to_text(), None).unwrap_err();
    let expected = NoteError::NotSigned {
        name: ORIGIN.to_owned(),
    };
    assert_eq!(error, expected.into());
}

#[test]
fn times_that_no_cosignature_can_have_are_refused() {
    let time_s = 1 << 63;
    let name = "witness.example/w1".to_owned();
    let error = witness(1).cosign("text\n", time_s).unwrap_err();
    assert_eq!(error, NoteError::Time { name });
    assert!(witness(1).cosign("text\n", time_s - 1).is_ok());
    let late = with_time(&cosigned(7, &[1]), 0x80);
    let policy = Policy::of_logs([signer().vkey()]).unwrap();
    let policy = policy.witness("w", witness(1).key().clone(), None).unwrap();
    let error = policy.verify_checkpoint(&late, None).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Note(NoteError::Time { .. })),
        "{error}"
    );
}

#[test]
fn what_is_written_reads_the_same() {
    let keys = [1, 2].map(|number| witness(number).key().to_string());
    let odd = format!(
        "\t# Whom we trust: K\u{e9}vin\n \t \nwitness  any\t{} \t https://w.example/#1 \n  log {} \
         https://l.example/\nwitness \u{212a} {}\ngroup all 1 any\nquorum all\n#end\n",
        keys[0],
        signer().vkey(),
        keys[1],
    );
    let odd = [odd.as_bytes(), b"# not UTF-8: \xff\n"].concat();
    let example = example().into_bytes();
    for file in [odd, example, b"quorum none\n".to_vec()] {
        let policy = Policy::parse(&file).unwrap();
        let text = policy.to_text();
        assert_eq!(Policy::parse(text.as_bytes()), Ok(policy), "{text}");
    }
    let names = Policy::parse(&b"quorum none\n"[..]).unwrap();
    assert_eq!((names.quorum_name(), names.logs().len()), (None, 0));
}

fn refused(file: &str, line: usize, rule: PolicyRule) {
    let found = Policy::parse(file.as_bytes());
    assert_eq!(found, Err(PolicyError::Line { line, rule }), "{file}");
}

#[test]
fn lines_of_logs_and_witnesses_that_break_a_rule_are_named() {
    let (log, one, two) = (signer().vkey(), witness(1), witness(2));
    let (one, two) = (one.key(), two.key());
    let renamed = CosignerKey::new("witness.example/other", &one.public_key()).unwrap();
    let rename_log = Vkey::new("example.com/other", &log.public_key()).unwrap();
    let form = |form| PolicyRule::Form { form };
    let algorithm = |expected, algorithm| {
        PolicyRule::Key(NoteError::Algorithm {
            expected,
            algorithm,
        })
    };
    refused("log\n", 1, form("log <vkey> [<url>]"));
    refused(&format!("log {log} u u\n"), 1, form("log <vkey> [<url>]"));
    let duplicate = PolicyRule::DuplicateKey { kind: "log" };
    refused(
        &format!("\n# x\nlog {log}\nlog {log}\n"),
        4,
        duplicate.clone(),
    );
    refused(&format!("log {log}\nlog {rename_log}\n"), 2, duplicate);
    refused(&format!("log {one}\n"), 1, algorithm(1, 4));
    refused(&format!("witness a {log}\n"), 1, algorithm(4, 1));
    // An ML-DSA-44 key is one of a type that is not known here.
    refused("witness a w+00000000+BgAA\n", 1, algorithm(4, 6));
    let vkey = NoteError::Vkey { part: "base64" };
    refused("log a+b+c\n", 1, vkey.into());
    let witness = form("witness <name> <vkey> [<url>]");
    refused(&format!("witness {one}\n"), 1, witness.clone());
    refused(&format!("witness a {one} u u\n"), 1, witness);
    for name in ["none", "#a"] {
        refused(&format!("witness {name} {one}\n"), 1, PolicyRule::Name);
    }
    let twice = PolicyRule::DuplicateName { name: "a".into() };
    refused(&format!("witness a {one}\nwitness a {two}\n"), 2, twice);
    let duplicate = PolicyRule::DuplicateKey { kind: "witness" };
    refused(
        &format!("witness a {one}\nwitness b {renamed}\n"),
        2,
        duplicate,
    );
}

#[test]
fn groups_and_quorums_that_break_a_rule_are_named() {
    let (one, two) = (witness(1), witness(2));
    let witnesses = format!("witness a {}\nwitness b {}\n", one.key(), two.key());
    let third = |line: &str, rule| refused(&format!("{witnesses}{line}\n"), 3, rule);
    let unknown = |name: &str| PolicyRule::UnknownName { name: name.into() };
    let form = |form| PolicyRule::Form { form };
    let twice = PolicyRule::DuplicateName { name: "a".into() };
    third("group a any b", twice);
    third("group none any b", PolicyRule::Name);
    third(
        "group g any",
        form("group <name> <any, all or number> <name>..."),
    );
    third("group g a b", PolicyRule::Threshold { members: 1 });
    for number in ["0", "3", "01", "+1", "-1", "ALL", "99999999999999999999"] {
        let line = format!("group g {number} a b");
        third(&line, PolicyRule::Threshold { members: 2 });
    }
    for name in ["c", "g", "none", "A"] {
        third(&format!("group g any a {name}"), unknown(name));
    }
    let member = || PolicyRule::DuplicateMember { name: "a".into() };
    third("group g any a a", member());
    let file = format!("{witnesses}group g any a\ngroup h any g a\n");
    refused(&file, 4, member());
    third("quorum a b", form("quorum <name or none>"));
    third("quorum", form("quorum <name or none>"));
    third("quorum c", unknown("c"));
    refused(&format!("quorum a\n{witnesses}"), 1, unknown("a"));
    let file = format!("{witnesses}quorum a\nquorum a\n");
    refused(&file, 4, PolicyRule::SecondQuorum);
    refused("quorum none\nquorum none\n", 2, PolicyRule::SecondQuorum);
    for file in ["", "\n", "# quorum none\n", &witnesses] {
        assert_eq!(Policy::parse(file.as_bytes()), Err(PolicyError::NoQuorum));
    }
}

#[test]
fn what_is_no_text_of_lines_is_refused() {
    refused("quorum none", 1, PolicyRule::NoNewline);
    refused("quorum none\r\n", 1, PolicyRule::Character { at: 11 });
    refused("# a\0\n", 1, PolicyRule::Character { at: 3 });
    refused("# a\u{7f}\n", 1, PolicyRule::Character { at: 3 });
    refused("Log x\n", 1, PolicyRule::Keyword);
    refused("quorum\u{a0}none\n", 1, PolicyRule::Keyword);
    let no_text = Policy::parse(b"\nquorum \xff\n");
    let rule = PolicyRule::Utf8;
    assert_eq!(no_text, Err(PolicyError::Line { line: 2, rule }));
}

#[test]
fn a_policy_is_bounded() {
    let log = |number: u16| {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        format!("log {}\n", Signer::new("a", &seed).unwrap().vkey())
    };
    let most: String = (0..256)
        .map(log)
        .chain(["quorum none\n".to_owned()])
        .collect();
    assert_eq!(Policy::parse(most.as_bytes()).unwrap().logs().len(), 256);
    let over: String = (0..257).map(log).collect();
    let rule = PolicyRule::TooMany {
        kind: "log",
        limit: 256,
    };
    let line = 257;
    assert_eq!(
        Policy::parse(over.as_bytes()),
        Err(PolicyError::Line { line, rule })
    );
    let newlines = vec![b'\n'; MAX_POLICY_LEN + 1];
    assert!(matches!(
        Policy::parse(&newlines),
        Err(PolicyError::TooLong { .. })
    ));
}

#[test]
fn names_that_no_line_can_hold_are_refused_when_a_policy_is_made() {
    let key = || witness(1).key().clone();
    for name in ["", "a b", "a\tb", "a\nb", "none", "#a"] {
        let made = Policy::new().witness(name, key(), None);
        assert_eq!(made, Err(PolicyRule::Name), "{name:?}");
    }
    for url in ["", "a b", "a\n"] {
        let made = Policy::new().witness("a", key(), Some(url));
        assert_eq!(made, Err(PolicyRule::Url), "{url:?}");
        assert_eq!(
            Policy::new().log(signer().vkey(), Some(url)),
            Err(PolicyRule::Url)
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_reads_again(
        noise in any::<Vec<u8>>(),
        at in any::<prop::sample::Index>(),
        taken in 0_usize..60,
    ) {
        let mut spliced = example().into_bytes();
        let start = at.index(spliced.len());
        let end = (start + taken).min(spliced.len());
        spliced.splice(start..end, noise.iter().copied());
        for bytes in [noise, spliced] {
            if let Ok(read) = Policy::parse(&bytes) {
                prop_assert_eq!(Policy::parse(read.to_text().as_bytes()), Ok(read));
            }
        }
    }
}
