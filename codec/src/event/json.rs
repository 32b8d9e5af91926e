//! Validity of payloads.

use serde::de::IgnoredAny;

use super::EventError;

/// How deep arrays and objects of a payload may be nested. `serde_json` refuses to build values
/// any deeper, so a deeper payload could be stored but not read.
pub const MAX_JSON_DEPTH: usize = 127;

/// Checks that bytes are one JSON text in UTF-8, nested at most [`MAX_JSON_DEPTH`] deep. Neither
/// the check nor its stack grows with the depth.
pub(super) fn check(payload: &[u8]) -> Result<(), EventError> {
    // serde_json skips over ignored strings without looking at their encoding.
    let text = std::str::from_utf8(payload).map_err(|error| EventError::PayloadNotUtf8 {
        at: error.valid_up_to(),
    })?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| EventError::PayloadNotJson {
        line: error.line(),
        column: error.column(),
    })?;
    if is_too_deep(payload) {
        return Err(EventError::PayloadTooDeep {
            max: MAX_JSON_DEPTH,
        });
    }
    Ok(())
}

/// Whether bytes that are known to be valid JSON are nested too deep. Most payloads begin too few
/// arrays and objects for that, wherever these stand.
fn is_too_deep(json: &[u8]) -> bool {
    let opening = json.iter().filter(|byte| matches!(byte, b'{' | b'['));
    opening.count() > MAX_JSON_DEPTH && depth(json) > MAX_JSON_DEPTH
}

/// Depth of nesting of bytes that are known to be valid JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_text_is_a_payload() {
        for good in [
            "null",
            "1e999",
            "-0",
            "340282366920938463463374607431768211455",
            r#""\ud800""#,
            r#" {"a":[1,{"b":"]}\"["}],"a":2} "#,
            "\"\u{e9}\u{1F600}\"",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            " ",
            "{",
            "{}{}",
            "nul",
            "01",
            "[1,]",
            "{'a':1}",
            "\u{feff}{}",
            "\"\n\"",
        ] {
            assert!(
                matches!(
                    check(bad.as_bytes()),
                    Err(EventError::PayloadNotJson { .. })
                ),
                "{bad}"
            );
        }
        assert_eq!(
            check(b"\"\xff\""),
            Err(EventError::PayloadNotUtf8 { at: 1 })
        );
    }

    #[test]
    fn the_bound_on_depth_is_the_one_of_the_reader() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let deepest = nested(MAX_JSON_DEPTH);
        assert_eq!(check(deepest.as_bytes()), Ok(()));
        assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok());
        let deeper = nested(MAX_JSON_DEPTH + 1);
        assert_eq!(
            check(deeper.as_bytes()),
            Err(EventError::PayloadTooDeep { max: 127 })
        );
        assert!(serde_json::from_str::<serde_json::Value>(&deeper).is_err());
        assert!(check(nested(1_000_000).as_bytes()).is_err());
        assert_eq!(depth(br#"{"[[[":"\"[[","a":[[]]}"#), 3);
        let wide = format!("[{}]", vec!["[[]]"; 100].join(","));
        assert_eq!(check(wide.as_bytes()), Ok(()));
        let text = format!("\"{}\"", "[".repeat(1000));
        assert_eq!(check(text.as_bytes()), Ok(()));
    }
}
