//! Small ledgers. That their keys are claimed as they stand is tested with a log.

use super::super::tests::{drafts, import, payload, rejections, types};
use crate::Format;
use crate::events::control;

fn entry(key: &str, status: &str, rest: &str) -> String {
    format!(
        "  \"{key}\": {{\n    \"request_id\": \"{key}\",\n    \"tool\": \"pay\",\n    \"args\": [],\n    \"kwargs\": {{\"n\": 340282366920938463463374607431768211455}},\n    \"status\": \"{status}\",\n    \"result\": null{rest},\n    \"started_at\": 1749000000.25,\n    \"finished_at\": 1749000001.5\n  }}"
    )
}

fn ledger(entries: &[String]) -> String {
    format!("{{\n{}\n}}", entries.join(",\n"))
}

#[test]
fn an_entry_is_a_claim_and_its_outcome() {
    let failed = entry("b", "failed", ",\n    \"error\": \"KeyError: 'x: y'\"");
    let text = ledger(&[
        entry("a", "completed", ""),
        failed,
        entry("c", "in-flight", ""),
    ]);
    let items = import(Format::MyceliumLedger, &text);
    let lines: Vec<u64> = items
        .iter()
        .map(|item| item.as_ref().unwrap().line)
        .collect();
    assert_eq!(lines, [2, 12, 23]);
    let events = drafts(items);
    let want = [
        "effect.claimed",
        "effect.completed",
        "effect.claimed",
        "effect.failed",
        "effect.claimed",
        "effect.outcome_unknown",
    ];
    assert_eq!(types(&events), want);
    let since = Some(1_749_000_000_250_000);
    for draft in &events {
        let field = |field| draft.control.get_u64(field);
        assert_eq!(field(control::effect::MIGRATED), Some(1));
        assert_eq!(field(control::effect::MIGRATED_SINCE_US), since);
        assert_eq!(draft.event.stream, "mycelium-ledger/tool");
        let tag = "imported:mycelium-ledger".to_owned();
        assert!(draft.event.tags.contains(&tag));
    }
    let executed = events[3].control.get_u64(control::effect::EXECUTED);
    assert_eq!(executed, Some(0));
    let error = &payload(&events[3])["error"];
    assert_eq!(
        (&error["type"], &error["message"]),
        (&"KeyError".into(), &"'x: y'".into())
    );
    assert_eq!(events[1].event.causation, events[0].event.event_id);
    assert_eq!(events[1].event.occurred_at_us, Some(1_749_000_001_500_000));
}

#[test]
fn a_ledger_is_read_whole_or_not_at_all() {
    let text = ledger(&[entry("a", "completed", ""), entry("b", "completed", "")]);
    for end in 1..text.len() {
        let items = import(Format::MyceliumLedger, &text[..end]);
        assert_eq!(rejections(&items).len(), items.len(), "{end}");
    }
    let commas = text.replace("},\n  \"b\"", "}\n  \"b\"");
    let nan = text.replace("\"result\": null", "\"result\": NaN");
    for odd in [&commas, &nan] {
        let items = import(Format::MyceliumLedger, odd);
        assert_eq!(rejections(&items), [(1, "import_record_not_json")]);
    }
    let items = import(Format::MyceliumLedger, "{}");
    assert!(items.len() == 1 && items[0].as_ref().unwrap().drafts.is_empty());
    let many: Vec<_> = (0..40_000).map(|at| format!("\"{at}\":{{}}")).collect();
    let many = format!("{{{}}}", many.join(","));
    let items = import(Format::MyceliumLedger, &many);
    assert_eq!(rejections(&items), [(1, "import_record_too_wide")]);
}
