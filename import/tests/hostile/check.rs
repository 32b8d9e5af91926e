//! What must hold of whatever an importer answers. The fuzz targets ask for it too.

use std::collections::BTreeMap;

use runstone_codec::Uuid;
use runstone_codec::event::{Draft, EventLimits};
use runstone_import::{Imported, Rejected};

pub(crate) type Item = Result<Imported, Rejected>;

pub(crate) fn same(one: &Draft, other: &Draft) -> bool {
    one.event == other.event && one.control == other.control && one.keyed == other.keyed
}

/// Everything holds that must hold whatever was read: two events of one id are the same, a log
/// takes each, and every item says where it is from.
pub(crate) fn check(items: &[Item], bytes: &[u8]) {
    assert!(!items.is_empty());
    let last = bytes.split(|byte| *byte == b'\n').count() as u64;
    let mut by_id: BTreeMap<Uuid, &Draft> = BTreeMap::new();
    for item in items {
        let (member, line, read) = match item {
            Ok(one) => (&one.member, one.line, one.bytes_read),
            Err(one) => (&one.member, one.line, one.bytes_read),
        };
        assert!(line >= 1 && read <= bytes.len() as u64, "{item:?}");
        assert!(member.is_some() || line <= last, "line {line} of {last}");
        match item {
            Ok(imported) => {
                for draft in &imported.drafts {
                    assert_eq!(draft.event.stream, imported.stream);
                    let mut event = draft.event.clone();
                    assert_eq!(event.check(&EventLimits::default()), Ok(()));
                    if let Some(before) = by_id.insert(draft.event.event_id.unwrap(), draft) {
                        assert!(same(before, draft), "{before:?}\n{draft:?}");
                    }
                }
            }
            Err(rejected) => {
                let told = rejected.to_string();
                assert!(told.contains(&format!("line {line}: ")), "{told}");
                assert!(rejected.code().starts_with("import_"));
            }
        }
    }
}
