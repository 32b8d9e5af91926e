//! Small receipts.

use super::super::tests::{drafts, import, import_with, payload, rejections, types};
use crate::{Check, Format, Options};

/// A receipt whose signature was made by the package that writes them, with the key `test-key`.
const SENT: &str = r#"{"receipt_id": "rcpt-0123456789abcdef", "agent_id": "agent_a", "action": "send_payment", "action_kind": "tool", "request_id": "invoice-42", "inputs": {"args": [], "kwargs": {"recipient": "acct_123", "amount": 100.0}}, "outputs": {"status": "sent", "note": "\u00e9\ud83d\ude00"}, "status": "completed", "timestamp": 1782800000.25, "signature": "4e33b61a2e9574583849454747ac40794696baa5e5a55eea002af2438c6a2121", "error": null}"#;
const FAILED: &str = r#"{"receipt_id": "rcpt-0123456789abcdef", "agent_id": "agent_a", "action": "send_payment", "action_kind": "tool", "request_id": "invoice-42", "inputs": {"args": [], "kwargs": {"amount": 100.0, "recipient": "acct_123"}}, "outputs": null, "status": "failed", "timestamp": 1e+16, "signature": "ae1ffe3d96410ae0800f92cfd07f6aae4690fa13fec9c0af5792432199df8ed5", "error": "RuntimeError: gateway down"}"#;

fn checks(recording: &str, key: &str) -> Vec<Option<Check>> {
    let options = Options::new().receipt_key(key);
    let items = import_with(Format::MyceliumReceipts, recording, options);
    items.into_iter().map(|item| item.unwrap().check).collect()
}

fn is_failed(check: Option<&Check>) -> bool {
    matches!(check, Some(Check::Failed { .. }))
}

#[test]
fn signatures_are_those_of_the_package() {
    let both = format!("{SENT}\n{FAILED}\n");
    let passed = Some(Check::Passed);
    assert_eq!(checks(&both, "test-key"), [passed.clone(), passed.clone()]);
    assert!(
        checks(&both, "test-kez")
            .iter()
            .all(|one| is_failed(one.as_ref()))
    );
    // However it is laid out, and whatever else is there.
    let compact = SENT
        .replace(": ", ":")
        .replace("\\u00e9\\ud83d\\ude00", "\u{e9}\u{1f600}");
    let more = compact.replacen('{', "{\"seen\":true,", 1);
    assert_eq!(checks(&more, "test-key"), [passed]);
}

#[test]
fn every_signed_member_counts() {
    for (from, to) in [
        ("send_payment", "send_paymenT"),
        ("\"tool\"", "\"task\""),
        ("invoice-42", "invoice-43"),
        ("100.0", "100"),
        ("acct_123", "acct_124"),
        ("\\u00e9", "\\u00e8"),
        ("completed", "failed"),
        ("1782800000.25", "1782800000.5"),
        ("\"error\": null", "\"error\": \"\""),
        ("rcpt-0", "rcpt-1"),
        ("agent_a", "agent_b"),
        ("4e33b61a", "4E33B61A"),
        ("4e33b61a", "4e33b6"),
        ("4e33b61a", "zz33b61a"),
    ] {
        let altered = SENT.replacen(from, to, 1);
        assert_ne!(altered, SENT, "{from}");
        assert!(is_failed(checks(&altered, "test-key")[0].as_ref()), "{to}");
    }
}

#[test]
fn a_receipt_is_kept_with_what_came_of_it() {
    let items = import(Format::MyceliumReceipts, &format!("{SENT}\n{SENT}\n"));
    assert_eq!(items[0].as_ref().unwrap().check, Some(Check::Unchecked));
    // It says nothing that it has not said.
    assert!(items[1].as_ref().unwrap().drafts.is_empty());
    let events = drafts(items);
    let want = ["harness.mycelium_receipts.receipt", "verdict.given"];
    assert_eq!(types(&events), want);
    assert_eq!(events[0].event.stream, "mycelium-receipts/agent_a");
    let kept = String::from_utf8(events[0].event.payload.clone()).unwrap();
    assert_eq!(kept, format!("{{\"original\":{SENT}}}"));
    let verdict = payload(&events[1]);
    assert_eq!(verdict["verdict"], "unchecked");
    let subject = events[0].event.event_id.unwrap().to_string();
    assert_eq!(verdict["subject"], subject.as_str());
}

#[test]
fn what_is_no_receipt_is_rejected() {
    let lines = [
        SENT,
        "{}",
        &SENT.replace("\"signature\"", "\"sig\""),
        "[]",
        &SENT[..200],
        &SENT.replace("100.0", "NaN"),
    ];
    let items = import_with(
        Format::MyceliumReceipts,
        &lines.join("\n"),
        Options::new().receipt_key("k"),
    );
    let want = [
        (2, "import_wrong_type"),
        (3, "import_wrong_type"),
        (4, "import_wrong_type"),
        (5, "import_record_truncated"),
        (6, "import_record_not_json"),
    ];
    assert_eq!(rejections(&items), want);
    let shown = format!("{:?}", Options::new().receipt_key("hunter2"));
    assert!(shown.contains("receipt_key: Some(Secret(..))"), "{shown}");
}
